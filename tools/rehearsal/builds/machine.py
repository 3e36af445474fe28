"""The worker's machine: where builds live, and the docker command their steps find."""

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DOCKER = """\
#!/bin/sh
# Adds the rehearsal's flags to every build of an image.
if [ "$1" = image ] && [ "$2" = build ]; then shift; fi
if [ "$1" = build ]; then
  shift
  exec {docker} build {flags} "$@"
fi
exec {docker} "$@"
"""
# What a step may see of the server's environment: where the daemon is and how it builds.
INHERITED = ("DOCKER_HOST", "DOCKER_BUILDKIT")


@dataclass(frozen=True)
class Machine:
    """A folder for builds and the environment of the server."""

    folder: Path
    environ: Mapping[str, str]

    @property
    def registry(self) -> str:
        """Return the host of the registry whose images a new worker does not have."""
        return self.environ.get("REHEARSAL_REGISTRY", "")

    def prepare(self) -> None:
        """Write the docker command that steps find first."""
        docker = shutil.which("docker", path=self.environ.get("PATH")) or "docker"
        flags = shlex.join(shlex.split(self.environ.get("REHEARSAL_DOCKER_FLAGS", "")))
        command = self._commands / "docker"
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(_DOCKER.format(docker=shlex.quote(docker), flags=flags), "utf-8")
        command.chmod(0o755)

    def build_folder(self, build: str) -> Path:
        """Return where a build has its workspace, home and log."""
        return self.folder / "builds" / build

    def log_path(self, build: str) -> Path:
        """Return the file of a build's log."""
        return self.build_folder(build) / "log.jsonl"

    def step_environ(self, build: str) -> dict[str, str]:
        """Return what every step of a build sees: nothing of the user's own settings."""
        home = self.build_folder(build) / "home"
        docker = self.folder / "docker-config"
        for folder in (home, docker):
            folder.mkdir(parents=True, exist_ok=True)
        path = self.environ.get("PATH", os.defpath)
        kept = {name: self.environ[name] for name in INHERITED if name in self.environ}
        return {
            **kept,
            "PATH": f"{self._commands}{os.pathsep}{path}",
            "HOME": str(home),
            "DOCKER_CONFIG": str(docker),
        }

    @property
    def _commands(self) -> Path:
        return self.folder / "bin"
