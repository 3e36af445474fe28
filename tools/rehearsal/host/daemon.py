"""The Docker daemon of a rehearsal: a private one where that may be, else the user's own."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.rehearsal.host.docker import Docker, docker_environ
from tools.rehearsal.host.failures import HostFailed
from tools.rehearsal.host.needs import find
from tools.rehearsal.host.process import Process

START_S = 60
STOP_S = 30
SOCKET_LIMIT = 107  # unix(7): sun_path has 108 bytes, the last one zero
DEEPEST_SOCKET = "exec/containerd/containerd-debug.sock"


@contextmanager
def daemon(folder: Path, environ: Mapping[str, str]) -> Iterator[Docker]:
    """Have a daemon until the end of the block.

    Args:
        folder: for the daemon's files; short, since sockets are in there.
        environ: what the docker command is to see besides.

    Raises:
        HostFailed: there is none, and none may be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config"
    config.mkdir(exist_ok=True)
    reason = why_not_private(folder)
    if not reason:
        socket = f"unix://{folder}/docker.sock"
        with _private(folder, Docker(docker_environ(environ, str(config), socket), True)) as own:
            yield own
        return
    theirs = Docker(docker_environ(environ, str(config), _users_host(environ)), is_private=False)
    if not theirs.answers():
        raise HostFailed(
            f"No Docker daemon answers, and a private one cannot be started: {reason}."
        )
    yield theirs


def why_not_private(folder: Path) -> str:
    """Return why a daemon of our own cannot be started; nothing where it can be tried."""
    if platform.system() != "Linux":
        return "this is not Linux"
    if os.geteuid():
        return "that takes root"
    if not find("dockerd"):
        return "dockerd is not installed (it is in the package docker.io)"
    if len(f"{folder}/{DEEPEST_SOCKET}") > SOCKET_LIMIT:
        return f"{folder} is too long a path for its sockets; choose a shorter --folder"
    return ""


@contextmanager
def _private(folder: Path, docker: Docker) -> Iterator[Docker]:
    process = Process(_command(folder), folder / "dockerd.log")
    try:
        process.wait_until(docker.answers, START_S)
        yield docker
    finally:
        process.stop(STOP_S)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path) -> list[str]:
    """Return the daemon's command: it shares nothing with another one on this machine."""
    config = folder / "daemon.json"
    config.write_text("{}\n", "utf-8")  # in place of /etc/docker/daemon.json
    return [
        find("dockerd") or "dockerd",
        f"--config-file={config}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'dockerd.pid'}",
        f"--host=unix://{folder}/docker.sock",
        f"--containerd-namespace=rehearsal-{os.getpid()}",
        f"--containerd-plugins-namespace=rehearsal-plugins-{os.getpid()}",
        "--bridge=none",  # containers share the host's network, so its rules stay as they are
        "--iptables=false",
        "--ip6tables=false",
    ]


def _unmount(folder: Path) -> None:
    """Undo what a daemon leaves mounted when it is ended by force."""
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    points = [line.split(" ")[1] for line in lines]
    for point in sorted(points, reverse=True):  # what is inside first
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _users_host(environ: Mapping[str, str]) -> str:
    """Return the address of the daemon that the user's own docker command talks to."""
    if environ.get("DOCKER_HOST"):
        return ""  # the command finds it by itself
    form = "{{.Endpoints.docker.Host}}"
    asked = subprocess.run(
        ["docker", "context", "inspect", "--format", form],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
