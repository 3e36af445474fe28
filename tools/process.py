"""What tools need of this machine: processes that are seen ready and always ended, and ports."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[1]
# How containers start a backend, before the name of its app, and the gateway.
GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
GATEWAY = (sys.executable, "-m", "v3.gateway", "serve")
PORTS = range(16_000, 32_000)  # Linux gives connections those from 32768 on


class Failed(Exception):
    """Something is missing or is not as it should be; the message says what."""


class Process:
    """A process in the background, with all that it says in a log; Ctrl-C does not reach it."""

    def __init__(
        self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._started_s = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid  # and that of the process group of what it starts

    @property
    def status(self) -> int | None:
        """Return its exit status once it has ended; minus the number of a signal that ended it."""
        return self._process.poll()

    def has_ended(self, *, within_s: float = 0.0) -> bool:
        """Return whether it ends before so many seconds have passed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self.status is not None

    def wait_until(
        self, is_ready: Callable[[], bool], *, limit_s: float = 120, pause_s: float = 0.05
    ) -> float:
        """Return after how many seconds it is ready; Failed, with its last lines, if it is not."""
        deadline, how = time.monotonic() + limit_s, ""
        while not is_ready():
            if self.status is not None:  # 137: killed, or out of memory
                how = f"ended by itself with exit status {self.status}"
            elif time.monotonic() > deadline:
                how = f"is not ready after {limit_s:.0f} s"
            if how:
                said = self.log.read_text("utf-8", "replace").splitlines()[-20:]
                first = f"{self.log.stem} {how}; the end of {self.log}:"
                raise Failed("\n  ".join([first, *(said or ["(it printed nothing)"])]))
            time.sleep(pause_s)
        return time.perf_counter() - self._started_s

    def stop(self, limit_s: float) -> bool:
        """Tell it to stop, kill what is left of its group; return whether it ended in time."""
        self._process.terminate()
        is_in_time = self.has_ended(within_s=limit_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        return is_in_time


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, *, stop_s: float
) -> Iterator[Process]:
    """Have a process until the end of the block, where it has so many seconds to stop."""
    with ThreadPoolExecutor(1) as pool:
        # Started by another thread, since a signal interrupts this one: the process is never lost.
        started = pool.submit(Process, command, log, environ)
        try:
            yield started.result()
        finally:
            started.result().stop(stop_s)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this machine, nor holds it, and there is one."""
    with contextlib.suppress(OSError, OverflowError):
        if not listens(port):  # macOS would listen beside 0.0.0.0
            socket.create_server((LOOPBACK, port)).close()
            return True
    return False


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that no outgoing connection is given meanwhile."""
    return list(islice(filter(is_free, random.sample(PORTS, len(PORTS))), count))


def free_port() -> int:
    return free_ports(1)[0]
