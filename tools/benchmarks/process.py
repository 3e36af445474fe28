"""Processes of the benchmark: bounded in time, measured with their children, always ended."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Self

import psutil

from imgserve.errors import ImgserveError
from tools.benchmarks.paths import LOGS, ROOT

LOOPBACK = "127.0.0.1"
# No process outlives this, even if the benchmark is killed and can stop nothing: longer than any
# part of it takes.
LIMIT_S = 3 * 3600
STOP_S = 6.0
READY_S = 120.0
MB = 1e6


class Failed(Exception):
    """A process ended or stayed silent where it should have answered."""


def exit_status(work: Callable[[], int]) -> int:
    """Return what some work returns; where it fails or is interrupted, say so and return a status.

    SIGTERM ends it as Ctrl-C does: everything it started is stopped. A shell's background jobs
    ignore Ctrl-C unless told otherwise.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return work()
    except (Failed, ImgserveError) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return 130  # as a shell says it: 128 and the signal's number


def say(text: str) -> None:
    """Write a line with the time to standard error."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Child:
    """A running process with all that it starts; what it writes goes to a log.

    Attributes:
        pid: of its first process.
        started_s: when it was started, by ``time.perf_counter``.
    """

    def __init__(self, name: str, command: Iterable[str], environ: Mapping[str, str]) -> None:
        """Start it; ``timeout`` ends it after ``LIMIT_S``, whatever happens here."""
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{name}.log"
        with self.log.open("wb") as log:
            self.started_s = time.perf_counter()
            self._process = subprocess.Popen(
                ("timeout", "--kill-after=5", f"{LIMIT_S}", *command),
                cwd=ROOT,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process group; kill what has not ended in time."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            self.has_ended(within_s=STOP_S)

    def has_ended(self, *, within_s: float = 0.0) -> bool:
        """Return whether it ends before so many seconds have passed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    def wait_until(self, is_ready: Callable[[], bool], *, pause_s: float = 0.05) -> None:
        """Wait until it is ready.

        Raises:
            Failed: it ended first, or took too long; the message has the end of its log.
        """
        deadline = time.monotonic() + READY_S
        while not is_ready():
            if self.has_ended() or time.monotonic() > deadline:
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
                raise Failed("\n".join([f"{self.log.stem} never became ready:", *lines[-20:]]))
            time.sleep(pause_s)


def tree(pids: Iterable[int]) -> Iterator[psutil.Process]:
    """Yield these processes and their descendants, as far as they are still there."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(pid)
            yield from (first, *first.children(recursive=True))


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of process trees, including children that were waited for."""
    total = 0.0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of process trees (PSS): what processes share is counted once."""
    total = 0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / MB
