"""Docker: a private daemon where that may be, else the user's own; and containers in it."""

import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.rehearsal.host import HostFailed, find, running
from tools.rehearsal.instance import Instance, InstanceFailed, container_of, limits_of
from tools.rehearsal.resources import secret_value
from tools.rehearsal.store import Json, Store
from tools.rehearsal.tokens import MetadataServers
from tools.rehearsal.web import ApiError

LIMIT_S = 60
LONG_S = 1800  # a pull over a slow line
GRACE_S = 10  # https://cloud.google.com/run/docs/container-contract#instance-shutdown
SOCKET_LIMIT = 107  # unix(7): sun_path has 108 bytes, the last one zero
DEEPEST_SOCKET = "exec/containerd/containerd-debug.sock"
LABEL = "rehearsal"  # on each container; its value is the daemon's folder


@dataclass(frozen=True)
class Docker:
    """A daemon as its clients see it.

    Attributes:
        environ: all that the docker command is to see.
        is_private: whether the rehearsal started it, and its images go with it.
        folder: of the rehearsal, which its containers are marked with.
    """

    environ: Mapping[str, str]
    is_private: bool
    folder: Path

    def run(self, *words: str, stdin: IO[bytes] | None = None, limit_s: float = LIMIT_S) -> str:
        """Return what a docker command prints.

        Raises:
            HostFailed: it failed; the message is what it said.
        """
        try:
            done = subprocess.run(
                ["docker", *words],
                env=self.environ,
                stdin=stdin or subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise HostFailed(f"docker {words[0]} took longer than {limit_s:.0f} s") from exc
        if done.returncode:
            raise HostFailed(f"docker {words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").strip()

    def succeeds(self, *words: str, limit_s: float = LIMIT_S) -> bool:
        """Return whether a docker command ends well."""
        try:
            self.run(*words, limit_s=limit_s)
        except HostFailed:
            return False
        return True

    def containers(self) -> list[str]:
        """Return the ids of the rehearsal's containers, whatever they do."""
        mine = f"label={LABEL}={self.folder}"
        return self.run("ps", "--all", "--quiet", "--filter", mine).split()

    def remove_images(self, registry: str) -> None:
        """Remove a registry's images."""
        form = "{{.Repository}}:{{.Tag}}"
        for name in self.run("images", "--format", form).splitlines():
            if name.startswith(f"{registry}/"):
                self.succeeds("rmi", name)


def docker_environ(base: Mapping[str, str], config: Path, host: str = "") -> dict[str, str]:
    """Return an environment in which docker reads nothing of the user's configuration.

    Args:
        base: the environment to start from; its daemon is kept where `host` is not given.
        config: the folder that takes the place of ~/.docker.
        host: the daemon's address.
    """
    steering = {"DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} if host else set()
    environ = {name: value for name, value in base.items() if name not in steering}
    environ |= {"DOCKER_CONFIG": str(config), **({"DOCKER_HOST": host} if host else {})}
    if not Docker(environ, False, config).succeeds("buildx", "version"):
        environ["DOCKER_BUILDKIT"] = "0"  # or the client refuses to build
    return environ


@contextmanager
def daemon(folder: Path, environ: Mapping[str, str]) -> Iterator[Docker]:
    """Have a daemon until the end of the block.

    Raises:
        HostFailed: there is none, and none may be started.
    """
    (folder / "config").mkdir(parents=True)
    reason = why_not_private(folder)
    host = _users_host(environ) if reason else f"unix://{folder}/docker.sock"
    docker = Docker(docker_environ(environ, folder / "config", host), not reason, folder)
    if reason and not docker.succeeds("version", "--format={{.Server.Version}}"):
        raise HostFailed(f"No Docker daemon answers, and no private one can start: {reason}.")
    if reason:
        yield docker
        return
    try:
        ready = "version", "--format={{.Server.Version}}"
        with running(_command(folder), folder / "dockerd.log", lambda: docker.succeeds(*ready)):
            yield docker
    finally:
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


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


def _users_host(environ: Mapping[str, str]) -> str:
    """Return the address of the daemon that the user's own docker command talks to."""
    if environ.get("DOCKER_HOST"):
        return ""  # the command finds it by itself
    command = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    asked = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


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


class Launcher:
    """Starts containers of revisions by Cloud Run's contract, as far as one machine goes.

    https://cloud.google.com/run/docs/container-contract
    """

    def __init__(self, docker: Docker, store: Store, metadata: MetadataServers, logs: Path) -> None:
        self._docker, self._store, self._metadata, self._logs = docker, store, metadata, logs
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()
        limits = docker.run("info", "--format={{.MemoryLimit}} {{.CPUCfsQuota}}")
        self._can_limit = limits == "true true"

    def __call__(self, revision: Json, port: int) -> Instance:
        """Start a container.

        Raises:
            InstanceFailed: its image or its secret does not exist.
        """
        name, container = revision["metadata"]["name"], container_of(revision)
        environ = self._environ(revision, port)
        options = ["--rm", f"--name={name}-{port}", f"--label={LABEL}={self._docker.folder}"]
        options += [*(limits_of(container) if self._can_limit else []), "--network=host"]
        options += [f"--env={name}" for name in environ]  # no value is in a list of processes
        image = self._image(name, container["image"])
        return Instance(
            ["docker", "run", *options, image],
            {**self._docker.environ, **environ},
            self._logs / f"{name}.log",
            lambda: self._end(f"{name}-{port}"),
        )

    def _image(self, revision: str, tag: str) -> str:
        """Return a revision's image by its digest, which it keeps when the tag moves on."""
        if revision not in self._digests:
            try:
                self._docker.run("pull", "--quiet", tag, limit_s=LONG_S)
                form = "--format={{index .RepoDigests 0}}"
                self._digests[revision] = self._docker.run("image", "inspect", form, tag)
            except HostFailed as exc:
                raise InstanceFailed(f"Image '{tag}' not found. ({exc})") from exc
        return self._digests[revision]

    def _environ(self, revision: Json, port: int) -> dict[str, str]:
        email, metadata = revision["spec"]["serviceAccountName"], revision["metadata"]
        given = {}
        for variable in container_of(revision).get("env", []):
            value = variable.get("value", "")
            if source := variable.get("valueFrom"):
                value = self._secret(source["secretKeyRef"], email)
            given[variable["name"]] = value
        own = f"127.0.0.1:{self._metadata.port(email)}"
        service = metadata["labels"]["serving.knative.dev/service"]
        contract = {"PORT": str(port), "K_SERVICE": service, "K_REVISION": metadata["name"]}
        # What Cloud Run does not set: on a shared network, nobody outside is to reach it, and
        # the metadata server cannot have the address that Google's has.
        loopback = {"HOST": "127.0.0.1", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
        return {**given, **contract, **loopback, "GCE_METADATA_HOST": own, "GCE_METADATA_IP": own}

    def _secret(self, reference: Json, email: str) -> str:
        try:
            return secret_value(self._store, reference["name"], reference["key"], email)
        except ApiError as exc:
            raise InstanceFailed(f"{exc}.") from exc

    def _end(self, name: str) -> None:
        with suppress(HostFailed):  # it has ended
            self._docker.run("stop", f"--time={GRACE_S}", name)
        with suppress(HostFailed):
            self._docker.run("rm", "--force", "--volumes", name)
