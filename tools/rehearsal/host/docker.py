"""The docker command, pointed at the daemon of the rehearsal."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from tools.rehearsal.host.failures import HostFailed

LIMIT_S = 60
LONG_S = 1800  # a pull over a slow line


@dataclass(frozen=True)
class Docker:
    """A daemon as its clients see it.

    Attributes:
        environ: all that the docker command is to see.
        is_private: whether the rehearsal started it, and its images go with it.
    """

    environ: Mapping[str, str]
    is_private: bool

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

    def answers(self) -> bool:
        """Return whether the daemon is there."""
        return self.succeeds("version", "--format", "{{.Server.Version}}")

    def has(self, image: str) -> bool:
        """Return whether the daemon has an image."""
        return self.succeeds("image", "inspect", "--format", "{{.Id}}", image)

    def pulls(self, image: str) -> bool:
        """Return whether an image could be pulled."""
        return self.succeeds("pull", "--quiet", image, limit_s=LONG_S)

    def images(self, registry: str) -> list[str]:
        """Return the names of the images of one registry."""
        form = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}"
        lines = self.run("images", "--digests", "--format", form).splitlines()
        named = [line.split("\t") for line in lines if line.startswith(f"{registry}/")]
        return [
            f"{name}@{digest}" if tag == "<none>" else f"{name}:{tag}"
            for name, tag, digest in named
        ]

    def succeeds(self, *words: str, limit_s: float = LIMIT_S) -> bool:
        """Return whether a docker command ends well."""
        try:
            self.run(*words, limit_s=limit_s)
        except HostFailed:
            return False
        return True


def docker_environ(base: Mapping[str, str], config: str, host: str = "") -> dict[str, str]:
    """Return an environment in which docker reads nothing of the user's configuration.

    Args:
        base: the environment to start from; its daemon is kept where `host` is not given.
        config: the folder that takes the place of ~/.docker.
        host: the daemon's address.
    """
    steering = {"DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} if host else set()
    environ = {name: value for name, value in base.items() if name not in steering}
    environ["DOCKER_CONFIG"] = config
    if host:
        environ["DOCKER_HOST"] = host
    if not Docker(environ, is_private=False).succeeds("buildx", "version"):
        environ["DOCKER_BUILDKIT"] = "0"  # or the client refuses to build
    return environ
