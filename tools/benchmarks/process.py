"""Processes of the benchmark: bounded in time, measured with their children, always ended."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import psutil

from imgserve.errors import ImgserveError
from tools.benchmarks.paths import LOGS
from tools.process import Failed, Process, running

# No process outlives this, even if the benchmark is killed and can stop nothing: longer than any
# part of it takes.
LIMIT_S = 3 * 3600
STOP_S = 6.0
MB = 1e6


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


def child(
    name: str, command: Iterable[str], environ: Mapping[str, str]
) -> AbstractContextManager[Process]:
    """Run a process until the end of the block; ``timeout`` ends it, whatever happens here."""
    bounded = ("timeout", "--kill-after=5", f"{LIMIT_S}", *command)
    return running(bounded, LOGS / f"{name}.log", environ, stop_s=STOP_S)


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
