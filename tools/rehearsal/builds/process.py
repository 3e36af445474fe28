"""One process of a step: its output to the log, ended when it is over or not wanted any more."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum

from tools.rehearsal.builds.command import Command

GRACE_S = 5  # between SIGTERM and SIGKILL
POLL_S = 0.1


class End(StrEnum):
    """Why a process is over."""

    ITSELF = "itself"
    TIME = "time"
    STOPPED = "stopped"


def run(
    command: Command, say: Callable[[str], None], halt: threading.Event, deadline: float
) -> tuple[End, int]:
    """Run a command to its end; return why it ended and its exit status.

    Args:
        command: started in a process group of its own, so that all it starts ends with it.
        say: called with each line of output, standard error included.
        halt: set when the process shall stop.
        deadline: on the monotonic clock.
    """
    with subprocess.Popen(
        command.argv,
        cwd=command.folder,
        env=command.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        reader = threading.Thread(target=_read, args=(process.stdout or (), say), daemon=True)
        reader.start()
        end = _wait(process, halt, deadline)
        _end_group(process)
        reader.join()
        return end, process.wait()


def _read(output: Iterable[str], say: Callable[[str], None]) -> None:
    for line in output:
        say(line.rstrip("\n"))


def _wait(process: subprocess.Popen[str], halt: threading.Event, deadline: float) -> End:
    while process.poll() is None:
        if time.monotonic() > deadline:
            return End.TIME
        if halt.wait(POLL_S) and process.poll() is None:
            return End.STOPPED
    return End.ITSELF


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of the process's group, first kindly."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
