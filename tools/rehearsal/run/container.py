"""One running container: made from a revision, or found again after a restart."""

import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools.rehearsal.run.docker import Docker, DockerFailed, Found
from tools.rehearsal.run.instance import Start

LOG = logging.getLogger(__name__)

POLL_S = 0.1
KILLED = 137  # 128 + SIGKILL
LAST_OUTPUT_S = 5


class Container:
    """A container and the two processes that watch it: one for its output, one for its end."""

    def __init__(self, docker: Docker, found: Found, log: Path) -> None:
        self.found = found
        self.log = log
        self._docker = docker
        self._output = docker.follow(found.name, log)
        self._end = docker.wait(found.name)

    @property
    def runs(self) -> bool:
        """Return whether it still runs."""
        return self._end.poll() is None

    def lives_for(self, seconds: float, stopped: Callable[[float], bool]) -> bool:
        """Wait; return whether it still runs and nobody asked to stop when the time is over."""
        end = time.monotonic() + seconds
        while self.runs and time.monotonic() < end:
            if stopped(min(POLL_S, max(0.0, end - time.monotonic()))):
                return False
        return self.runs

    def how_it_ended(self) -> str:
        """Return in a sentence why it does not run any more."""
        said, _ = self._end.communicate(timeout=LAST_OUTPUT_S)
        status = said.decode().strip()
        self._last_output()
        if self._docker.out_of_memory(self.found.name):
            return "The container used more memory than its limit and was terminated."
        if status == str(KILLED):
            return "The container was killed (SIGKILL)."
        return f"Container called exit({status})."

    def stop(self) -> None:
        """End it as Cloud Run does, and remove it; its log stays."""
        try:
            self._docker.stop(self.found.name)
        except DockerFailed as exc:
            LOG.warning("%s could not be removed: %s", self.found.name, exc)
        self._last_output()
        self.let_go()

    def let_go(self) -> None:
        """Stop watching; the container goes on."""
        for process in (self._output, self._end):
            process.kill()
            process.communicate()

    def _last_output(self) -> None:
        try:
            self._output.wait(LAST_OUTPUT_S)
        except subprocess.TimeoutExpired:
            LOG.warning("the output of %s is not complete", self.found.name)


def run(docker: Docker, found: Found, start: Start, command: list[str], log: Path) -> Container:
    """Start a container; without limits of memory and CPU where this kernel has none.

    Raises:
        DockerFailed: it cannot be started.
    """
    try:
        docker.start(found, start.options, command, start.secrets)
    except DockerFailed as exc:
        if not any(word in str(exc) for word in ("cgroup", "memory", "CPU")):
            raise
        LOG.warning("%s runs without limits of memory and CPU: %s", found.name, exc)
        docker.start(found, start.without_limits().options, command, start.secrets)
    return Container(docker, found, log)
