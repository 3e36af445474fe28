"""Run several services side by side: show their output, see them ready, end them all together.

Each service is a process group of its own. Whatever ends the run, Ctrl-C, SIGTERM, a closed
terminal or a service that ends, every service is told to stop and what is left of its group killed.
"""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

from imgserve.contract import Problem
from imgserve.errors import ModelUnavailable
from tools.process import Process

STOP_TIMEOUT_S = 12.0  # a backend finishes the requests it has within 10 s
ANSWER_TIMEOUT_S = 2  # a backend answers at once, but may share the machine with what loads models
USER_AGENT = "imgserve-run"


@dataclass(frozen=True)
class Service:
    name: str  # shown before each line of its output
    command: tuple[str, ...]
    environ: Mapping[str, str]
    ready_url: str  # answers 200 once it can be used, or why its model cannot be loaded


class Child(Process):
    """A running service; its output is shown line by line under its name."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.absent = ""  # why its model cannot be loaded
        # No pipe: were this process killed, whoever writes on stopping would fail, and not stop.
        with tempfile.TemporaryDirectory() as folder:
            environ = {**service.environ, "PYTHONUNBUFFERED": "1"}
            super().__init__(service.command, Path(folder, "log"), environ)
            self._said = self.log.open("rb", buffering=0)  # which stays as long as it is open
        self._is_ready = self._is_over = False
        self._http = requests.Session()
        self._http.headers["User-Agent"] = USER_AGENT
        self._http.trust_env = False  # a proxy has no business on the way to this machine
        self._output = threading.Thread(target=self._show_output, daemon=True)
        self._output.start()

    def _show_output(self) -> None:
        position, is_over = 0, False
        while not is_over:
            time.sleep(0.05)
            is_over = self._is_over
            new = os.pread(self._said.fileno(), 2**20, position)  # no line is longer
            end = len(new) if is_over else new.rfind(b"\n") + 1
            position += end
            for line in new[:end].decode(errors="replace").splitlines():
                if (shown := readable(line)) is not None:
                    say(f"{self.service.name:8} | {shown}")

    def is_ready(self) -> bool:
        """Return whether the service can be used; once it can, it is not asked again."""
        if not self._is_ready:
            with contextlib.suppress(requests.RequestException, msgspec.MsgspecError):
                answer = self._http.get(self.service.ready_url, timeout=ANSWER_TIMEOUT_S)
                self._is_ready = answer.ok
                problem = msgspec.json.decode(answer.content, type=Problem)
                if problem.type.endswith(f":{ModelUnavailable.slug}"):
                    self.absent = problem.detail
        return self._is_ready

    def end(self) -> None:
        """End it, with all that it started, and show the rest of its output."""
        if not self.stop(STOP_TIMEOUT_S):
            say(f"{self.service.name} does not stop: killing it")
        self._is_over = True
        self._output.join()


def supervise(services: Sequence[Service], announcement: str) -> int:
    """Run services until told to stop or one ends; say when all are ready; return the status."""
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # No lock, such as an Event has: the next signal may interrupt this very handler.
        signal.signal(number, lambda number, _: received.append(number))
    children, is_announced = list[Child](), False
    try:
        for service in services:
            say(f"starting {service.name}")
            children.append(Child(service))
        while not received:
            are_ready = [child.is_ready() for child in children]
            if reason := _reason_to_stop(children):
                say(f"{reason}: stopping the rest")
                return 1
            if all(are_ready) and not is_announced:
                is_announced = True
                say(f"\n{announcement}")
            time.sleep(0.25)
        return 0
    finally:
        say("stopping")
        with ThreadPoolExecutor(max(1, len(children))) as pool:
            list(pool.map(Child.end, children))


def _reason_to_stop(children: Sequence[Child]) -> str:
    """Return why the services are of no use any more; nothing while they are."""
    for child in children:
        if (code := child.status) is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            return f"{child.service.name} ended by itself ({how})"
        if child.absent:
            return f"\n{child.absent}\n{child.service.name} cannot answer"
    return ""


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
    """Return the severity and message of a log entry, or another line; None for our own asking."""
    try:
        entry = msgspec.json.decode(line, type=LogEntry)
    except msgspec.DecodeError:
        return line
    if entry.http_request.get("userAgent") == USER_AGENT:
        return None
    return f"{entry.severity} {entry.message}"
