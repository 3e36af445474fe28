"""What a rehearsal needs of this machine: programs, processes, ports, a registry, the code."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LOOPBACK = "127.0.0.1"
PORTS = range(16_000, 32_000)  # Linux gives connections those from 32768 on
# Daemons are not on everybody's PATH.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Any of these names, and where to get it.
NEEDS: dict[tuple[str, ...], str] = {
    ("docker",): "the package docker.io, or docker-cli where that is one of its own",
    ("dockerd",): "the package docker.io of Debian and Ubuntu, or docs.docker.com/engine/install",
    ("docker-registry",): "the package docker-registry",
    ("gcloud",): "the Google Cloud CLI, cloud.google.com/sdk/docs/install (it is not in Debian)",
    ("git",): "the package git",
    ("curl",): "the package curl",
    ("nginx",): "the package nginx",
    ("openssl",): "the package openssl",
    CHROMIUM: "the package chromium",
}
START_S, STOP_S, POLL_S = 60.0, 30.0, 0.1
SHOWN_LINES = 10


class HostFailed(Exception):
    """Something that the rehearsal stands on is missing or does not work."""


def say(text: str) -> None:
    """Show a text to the person who waits."""
    sys.stderr.write(f"{text}\n")  # in one piece: several threads write
    sys.stderr.flush()


def find(*names: str) -> str | None:
    """Return where the first of these programs is that is installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing() -> list[str]:
    """Return a sentence for each program that is not installed."""
    lacking = {names[0]: source for names, source in NEEDS.items() if not find(*names)}
    return [f"{name} is missing: {source}" for name, source in lacking.items()]


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Have a process in the background until the end of the block; Ctrl-C does not reach it.

    HostFailed, with its last lines, where it ended or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, ThreadPoolExecutor(1) as pool:
        # Started by another thread, since a signal interrupts this one: the process is never lost.
        started = pool.submit(
            subprocess.Popen[bytes],
            [find(command[0]) or command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_until_ready(started.result(), command[0], log, ready)
            yield
        finally:
            process = started.result()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # and all that it started
            process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], name: str, log: Path, ready: Callable[[], bool]
) -> None:
    end = time.monotonic() + START_S
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > end:
            lines = log.read_text("utf-8", "replace").splitlines()[-SHOWN_LINES:]
            how = "ended by itself" if ended else f"is not ready after {START_S:.0f} s"
            raise HostFailed("\n  ".join([f"{name} {how}:", *lines]))
        time.sleep(POLL_S)


def listens(port: int) -> bool:
    """Return whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that no outgoing connection is given meanwhile."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(PORTS)  # noqa: S311  not a secret
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
            found.add(port)
    return sorted(found)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry of images until the end of the block; yield its host and port."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    images = {"filesystem": {"rootdirectory": str(folder / "images")}, "delete": {"enabled": True}}
    log = {"level": "warn", "accesslog": {"disabled": True}}
    http = {"addr": f"{LOOPBACK}:{port}"}
    settings = {"version": 0.1, "log": log, "storage": images, "http": http}
    config = folder / "config.yml"
    config.write_text(json.dumps(settings), "utf-8")  # YAML, of which JSON is a part
    command = ["docker-registry", "serve", str(config)]
    with running(command, folder / "registry.log", lambda: listens(port)):
        yield f"{LOOPBACK}:{port}"


def copy_source(root: Path, copy: Path) -> None:
    """Copy what git knows or would know of, as it is in the working tree of a repository."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    command += ["--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise HostFailed(f"git ls-files in {root}: {listed.stderr.strip()}")
    for name in listed.stdout.split("\0"):
        if name and (root / name).is_file():  # a deleted file is listed until it is committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)
