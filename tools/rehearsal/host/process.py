"""A process of the rehearsal: started by us, ended by us."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.rehearsal.host.failures import HostFailed

POLL_S = 0.1
SHOWN_LINES = 10


class Process:
    """A process in the background, in a group of its own: Ctrl-C does not reach it."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(os.environ if environ is None else environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait until it can be used.

        Raises:
            HostFailed: it ended, or was not ready in time; the message has its last lines.
        """
        end = time.monotonic() + limit_s
        while not ready():
            if self._popen.poll() is not None:
                raise HostFailed(f"{self.name} ended by itself:\n{self._last_lines()}")
            if time.monotonic() > end:
                raise HostFailed(
                    f"{self.name} is not ready after {limit_s:.0f} s:\n{self._last_lines()}"
                )
            time.sleep(POLL_S)

    def stop(self, limit_s: float) -> None:
        """End it and what it started; by force what does not end in time."""
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(limit_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def _last_lines(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-SHOWN_LINES:])
