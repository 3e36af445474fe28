"""Run several services side by side: show what they say, see them ready, end them all together.

Each service is a process group of its own. Whatever ends the run, Ctrl-C, SIGTERM, a closed
terminal or a service that died, every group is told to stop and, if it does not, killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

STOP_TIMEOUT_S = 12.0  # a backend finishes the requests it has within 10 s
POLL_S = 0.25
REMIND_S = 10.0
USER_AGENT = "imgserve-run"


@dataclass(frozen=True)
class Service:
    """A process to run, and the address that answers 200 once it can be used."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    ready_url: str


def say(text: str) -> None:
    """Show a line to the person who waits, if there is still one."""
    with contextlib.suppress(OSError):  # a closed terminal must not keep services from ending
        sys.stdout.write(f"{text}\n")  # in one piece: several threads write
        sys.stdout.flush()


def readable(line: str) -> str | None:
    """Return a service's line as a person reads it; None for the trace of our own asking.

    A log entry, one JSON object, becomes its severity and message; any other line stays.
    """
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except msgspec.DecodeError:
        return line
    if entry.http_request.get("userAgent") == USER_AGENT:
        return None
    return f"{entry.severity} {entry.message}"


class Entry(msgspec.Struct, rename="camel"):
    """What is read of a log entry, in the field names of Cloud Logging."""

    severity: str
    message: str
    http_request: dict[str, object] = {}


class Child:
    """A running service; its output is shown line by line under its name."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.ready = False
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
        self._output = threading.Thread(target=self._show_output, daemon=True)
        self._output.start()

    def _show_output(self) -> None:
        for line in self.process.stdout or ():
            if (shown := readable(line.rstrip())) is not None:
                say(f"{self.service.name:8} | {shown}")

    def answers(self, http: requests.Session) -> bool:
        """Return whether the service can be used now; once it could, it is not asked again."""
        if not self.ready:
            try:
                self.ready = http.get(self.service.ready_url, timeout=2).ok
            except requests.RequestException:
                self.ready = False
        return self.ready

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the service, if any are left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self.process.pid, number)

    def ends_by(self, deadline: float) -> bool:
        """Wait for the service's first process; return whether it ended in time."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def finish_output(self) -> None:
        """Wait until the last line is shown."""
        self._output.join(timeout=1)


def stop(children: Sequence[Child], timeout_s: float) -> None:
    """End all processes of all services, by force those that have not ended in time."""
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        if not child.ends_by(deadline):
            say(f"{child.service.name} does not stop: killing it")
        child.signal(signal.SIGKILL)  # also what a service left behind
        child.process.wait()
        child.finish_output()


class Progress:
    """Shows once that all services are ready, and until then now and then which are not."""

    def __init__(self, children: Sequence[Child], announcement: str) -> None:
        self._children = children
        self._announcement = announcement
        self._announced = False
        self._started = self._reminded = time.monotonic()

    def show(self, http: requests.Session) -> None:
        """Ask the services that were not ready and say what is new."""
        if self._announced:
            return
        waiting = [child.service.name for child in self._children if not child.answers(http)]
        now = time.monotonic()
        if not waiting:
            self._announced = True
            say(f"\nReady after {now - self._started:.0f} s.\n{self._announcement}")
        elif now - self._reminded >= REMIND_S:
            self._reminded = now
            say(f"waiting for {' and '.join(waiting)} ({now - self._started:.0f} s)")


def watch(children: Sequence[Child], stopped: threading.Event, progress: Progress) -> int:
    """Wait until told to stop or a service ends; return the exit status."""
    with requests.Session() as http:
        http.headers["User-Agent"] = USER_AGENT
        http.trust_env = False  # a proxy has no business on the way to this machine
        while not stopped.wait(POLL_S):
            for child in children:
                if (code := child.process.poll()) is not None:
                    child.finish_output()
                    say(f"{child.service.name} ended by itself ({ended(code)}): stopping the rest")
                    return 1
            progress.show(http)
    return 0


def ended(code: int) -> str:
    """Return in words how a process ended."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def supervise(
    services: Sequence[Service],
    folder: Path,
    announcement: str,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> int:
    """Run services in a folder until told to stop or one ends; return the exit status.

    Args:
        announcement: shown once all are ready.
        stop_timeout_s: how long they have to end before they are killed.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    children: list[Child] = []
    try:
        for service in services:
            say(f"starting {service.name}")
            children.append(Child(service, folder))
        return watch(children, stopped, Progress(children, announcement))
    finally:
        say("stopping")
        stop(children, stop_timeout_s)
