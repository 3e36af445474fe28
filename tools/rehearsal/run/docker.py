"""The docker command, as far as Cloud Run needs it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Whose container it is: the rehearsal's folder, so that two rehearsals leave each other alone.
OWNER = "rehearsal.folder"
REVISION = "rehearsal.revision"
PORT = "rehearsal.port"
PULL_LIMIT_S = 900
LIMIT_S = 120
GRACE_S = 10  # https://cloud.google.com/run/docs/container-contract#instance-shutdown


class DockerFailed(Exception):
    """The command failed; the message is what it said."""


@dataclass(frozen=True)
class Found:
    """A container of ours that is there already."""

    name: str
    revision: str
    port: int
    runs: bool


class Docker:
    """The containers of one rehearsal."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = dict(environ)
        self._folder = folder

    def pull(self, image: str) -> str:
        """Fetch an image; return its name with the digest in place of the tag.

        Raises:
            DockerFailed: the registry does not have it or does not answer.
        """
        self._run(["pull", "--quiet", image], limit_s=PULL_LIMIT_S)
        listed = self._run(["image", "inspect", "--format", "{{json .RepoDigests}}", image])
        digests: list[str] = json.loads(listed) or []
        repository = _repository(image)
        return next((each for each in digests if each.startswith(f"{repository}@")), image)

    def start(
        self, found: Found, options: Sequence[str], command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        """Start a container in the background.

        Args:
            found: its name and labels.
            options: of `docker run`.
            command: the image, and the words that follow it.
            env: values that must not be seen in a list of processes; the options name them.

        Raises:
            DockerFailed: it was not started; nothing is left of it.
        """
        labels = {OWNER: self._folder, REVISION: found.revision, PORT: found.port}
        marks = [f"--label={name}={value}" for name, value in labels.items()]
        try:
            self._run(["run", "--detach", f"--name={found.name}", *marks, *options, *command], env)
        except DockerFailed:
            self.remove(found.name)
            raise

    def follow(self, name: str, log: Path) -> subprocess.Popen[bytes]:
        """Copy a container's output into a file, from its beginning to its end."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            return self._popen(["logs", "--follow", name], stdout=file, stderr=file)

    def wait(self, name: str) -> subprocess.Popen[bytes]:
        """Return a process that ends when the container does and prints its exit status."""
        return self._popen(["wait", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def out_of_memory(self, name: str) -> bool:
        """Return whether the kernel ended the container because it used too much memory."""
        try:
            return self._run(["inspect", "--format", "{{.State.OOMKilled}}", name]) == "true"
        except DockerFailed:
            return False

    def stop(self, name: str) -> None:
        """Ask a container to end by SIGTERM, make it end after the grace period, remove it."""
        with suppress(DockerFailed):  # it is gone already, or `remove` says what is wrong
            self._run(["stop", f"--time={GRACE_S}", name])
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a container, whatever it does, and if there is one."""
        try:
            self._run(["rm", "--force", "--volumes", name])
        except DockerFailed as exc:
            if "No such container" not in str(exc):
                raise

    def ours(self) -> list[Found]:
        """Return the containers that this rehearsal started, running or not."""
        form = (
            f'{{{{.Names}}}}\t{{{{.Label "{REVISION}"}}}}\t{{{{.Label "{PORT}"}}}}\t{{{{.State}}}}'
        )
        mine = f"label={OWNER}={self._folder}"
        lines = self._run(["ps", "--all", "--filter", mine, "--format", form]).splitlines()
        parts = (line.split("\t") for line in lines)
        return [Found(name, key, int(port), state == "running") for name, key, port, state in parts]

    def _run(
        self, arguments: list[str], more: Mapping[str, str] | None = None, limit_s: float = LIMIT_S
    ) -> str:
        try:
            done = subprocess.run(
                ["docker", *arguments],
                env={**self._environ, **(more or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise DockerFailed(f"docker {arguments[0]}: {exc}") from exc
        if done.returncode:
            raise DockerFailed(_said(done.stderr) or f"docker {arguments[0]} failed")
        return done.stdout.strip()

    def _popen(self, arguments: list[str], **streams: object) -> subprocess.Popen[bytes]:
        command = ["docker", *arguments]
        return subprocess.Popen(command, env=self._environ, stdin=subprocess.DEVNULL, **streams)  # type: ignore[call-overload,no-any-return]


def _repository(image: str) -> str:
    """Return an image's name without tag and digest; a port of the registry stays."""
    name = image.partition("@")[0]
    last = name.rpartition("/")[2]
    return name.removesuffix(f":{last.partition(':')[2]}") if ":" in last else name


def _said(stderr: str) -> str:
    """Return what docker complained about, without its hint to read the help."""
    lines = (line.strip() for line in stderr.splitlines())
    kept = [line for line in lines if line and not line.startswith(("Run 'docker", "See 'docker"))]
    return " ".join(kept).removeprefix("docker: ").removeprefix("Error response from daemon: ")
