"""Run several services side by side: show their output, see them ready, end them all together.

Each service is a process group of its own. Whatever ends the run, Ctrl-C, SIGTERM, a closed
terminal or a service that the others need, every group is told to stop and, if it does not, killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

from imgserve.contract import Problem
from imgserve.errors import ModelUnavailable

STOP_TIMEOUT_S = 12.0  # a backend finishes the requests it has within 10 s
ANSWER_TIMEOUT_S = 2  # a backend answers at once, but may share the machine with what loads models
POLL_S = 0.25
REMIND_S = 10.0
USER_AGENT = "imgserve-run"


@dataclass(frozen=True)
class Service:
    """A process to run.

    Attributes:
        name: shown before each line of its output.
        command: the program and its arguments.
        environ: all of its environment.
        ready_url: answers 200 once it can be used, or why its first model cannot be loaded.
        models: those that answer there, the default first. If a service with models ends, the rest
            goes on as long as there are other models; if one without ends, the run does too.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    ready_url: str
    models: tuple[str, ...] = ()


class Child:
    """A running service; its output is shown line by line under its name.

    Attributes:
        ready: whether it can be used.
        absent: why its first model cannot be loaded; empty while it can.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.ready = False
        self.absent = ""
        self.process = subprocess.Popen(
            service.command,
            cwd=folder,
            env={**service.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._http = requests.Session()
        self._http.headers["User-Agent"] = USER_AGENT
        self._http.trust_env = False  # a proxy has no business on the way to this machine
        self._output = threading.Thread(target=self._show_output, daemon=True)
        self._output.start()

    def _show_output(self) -> None:
        for line in self.process.stdout or ():
            if (shown := readable(line.rstrip())) is not None:
                say(f"{self.service.name:8} | {shown}")

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that answer, or may still do so."""
        return self.service.models[1:] if self.absent else self.service.models

    def is_settled(self) -> bool:
        """Return whether the service can be used or never will; then it is not asked again."""
        if not self.ready and not self.absent:
            with contextlib.suppress(requests.RequestException):
                answer = self._http.get(self.service.ready_url, timeout=ANSWER_TIMEOUT_S)
                self.ready = answer.ok
                self.absent = _why_absent(answer)
        return self.ready or bool(self.absent)

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the service, if any are left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self.process.pid, number)

    def clear_up(self) -> None:
        """End what the service left behind and wait until its last line is shown."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self._output.join(timeout=1)


def _why_absent(answer: requests.Response) -> str:
    """Return why a model cannot be loaded; nothing while it is loading, or ready."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:
        return ""
    return problem.detail if problem.type.endswith(f":{ModelUnavailable.slug}") else ""


def supervise(
    services: Sequence[Service], folder: Path, announcement: Callable[[Sequence[str]], str]
) -> int:
    """Run services in a folder until told to stop, or until what is left is of no use.

    Args:
        services: what to run.
        folder: where.
        announcement: given the models that answer, what to say once no service is waited for.

    Returns:
        The exit status: 0 when told to stop.
    """
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # No lock, such as an Event has: the next signal may interrupt this very handler.
        signal.signal(number, lambda number, _: received.append(number))
    progress = Progress(announcement)
    with running(services, folder) as children:
        while not received:
            waiting = [child.service.name for child in children if not child.is_settled()]
            if reason := _reason_to_stop(children):
                say(f"{reason}: stopping the rest")
                return 1
            progress.show(children, waiting)
            time.sleep(POLL_S)
    return 0


@contextlib.contextmanager
def running(services: Sequence[Service], folder: Path) -> Iterator[list[Child]]:
    """Run services until the end of the block; those taken from the list have ended before."""
    children: list[Child] = []
    try:
        for service in services:
            say(f"starting {service.name}")
            children.append(Child(service, folder))
        yield children
    finally:
        say("stopping")
        _stop(children)


def _stop(children: Sequence[Child]) -> None:
    """End all processes of all services, by force those that have not ended in time."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{child.service.name} does not stop: killing it")
        child.clear_up()


def _reason_to_stop(children: list[Child]) -> str:
    """Take out what ended by itself; return why the rest is of no use, if that is so."""
    for gone in [child for child in children if child.process.poll() is not None]:
        children.remove(gone)
        gone.clear_up()
        news = f"{gone.service.name} ended by itself ({_how_ended(gone.process.returncode)})"
        if not gone.service.models or not _models(children):
            return news
        say(f"{news}: the rest goes on without it")
    absent = [child.absent for child in children if child.absent]
    if absent and not _models(children):
        return "\n".join(["", *absent, "there is no other model to answer"])
    return ""


def _models(children: Sequence[Child]) -> list[str]:
    return [model for child in children for model in child.models]


def _how_ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


class Progress:
    """Says once that no service is waited for, and until then now and then which are."""

    def __init__(self, announcement: Callable[[Sequence[str]], str]) -> None:
        self._announcement = announcement
        self._announced = False
        self._started = self._reminded = time.monotonic()

    def show(self, children: Sequence[Child], waiting: Sequence[str]) -> None:
        """Say what is new, given the names of those that are waited for."""
        now = time.monotonic()
        if not waiting and not self._announced:
            self._announced = True
            say(f"\nReady after {now - self._started:.0f} s.")
            for reason in [child.absent for child in children if child.absent]:
                say(reason)
            say(self._announcement(_models(children)))
        elif waiting and not self._announced and now - self._reminded >= REMIND_S:
            self._reminded = now
            say(f"waiting for {' and '.join(waiting)} ({now - self._started:.0f} s)")


def say(text: str) -> None:
    """Show a line to the person who waits, if there is still one."""
    with contextlib.suppress(OSError):  # a closed terminal must not keep services from ending
        sys.stdout.write(f"{text}\n")  # in one piece: several threads write
        sys.stdout.flush()


class LogEntry(msgspec.Struct, rename="camel"):
    """What is read of a log entry, in the field names of Cloud Logging."""

    severity: str
    message: str
    http_request: dict[str, object] = {}


def readable(line: str) -> str | None:
    """Return a service's line as a person reads it; None for the trace of our own asking.

    A log entry, one JSON object, becomes its severity and message; any other line stays.
    """
    try:
        entry = msgspec.json.decode(line, type=LogEntry)
    except msgspec.DecodeError:
        return line
    if entry.http_request.get("userAgent") == USER_AGENT:
        return None
    return f"{entry.severity} {entry.message}"
