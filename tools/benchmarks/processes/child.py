"""One process that the benchmark starts, with what it starts in turn."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tools.benchmarks.places import LOGS, ROOT

# Nothing runs longer than that, even if this process is killed and can stop nothing.
LIMIT_S = 900
STOP_S = 6.0
READY_S = 120.0
LOOPBACK = "127.0.0.1"


class Failed(Exception):
    """A process ended or stayed silent where it should have answered."""


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Child:
    """A running process group; what it says goes to a file.

    Attributes:
        pid: of its first process.
        started_s: when it was started, as ``time.perf_counter`` says it.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        environ: Mapping[str, str],
        *,
        talks: bool = False,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Start it.

        Args:
            name: of its log.
            command: program and arguments.
            environ: all of its environment.
            talks: whether its standard input and output are pipes, for ``ask``.
            limit_s: it is ended after so long, whatever happens here.
        """
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{name}.log"
        bounded = ("timeout", "--kill-after=5", f"{limit_s:g}", *command)
        pipe = subprocess.PIPE if talks else None
        with self.log.open("wb") as log:
            self.started_s = time.perf_counter()
            self._process = subprocess.Popen(
                bounded,
                cwd=ROOT,
                env=dict(environ),
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the whole group, by force what has not ended in time."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait_until(
        self, is_so: Callable[[], bool], *, pause_s: float = 0.05, limit_s: float = READY_S
    ) -> None:
        """Wait until something is so.

        Raises:
            Failed: it ended first, or took too long; the message has the end of its log.
        """
        deadline = time.monotonic() + limit_s
        while not is_so():
            if not self.is_running() or time.monotonic() > deadline:
                raise self.failure("never became ready")
            time.sleep(pause_s)

    def ask(self, line: str = "") -> bytes:
        """Send a line, if any, and return the next line that it answers.

        Raises:
            Failed: it ended instead.
        """
        sender, receiver = self._process.stdin, self._process.stdout
        if sender is None or receiver is None:
            raise ValueError("it was not started to talk")
        try:
            if line:
                sender.write(line.encode() + b"\n")
                sender.flush()
            answer = receiver.readline()
        except BrokenPipeError as exc:
            raise self.failure("ended") from exc
        if not answer:
            raise self.failure("ended")
        return answer

    def failure(self, what: str) -> Failed:
        """Return an error with the last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        return Failed("\n".join([f"{self.log.stem} {what}:", *lines]))
