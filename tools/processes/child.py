"""One running service."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests

from imgserve.contract import Problem
from imgserve.errors import ModelUnavailable
from tools.processes.output import readable, say

# A backend whose model is loading answers at once, but shares the machine with what loads it.
ANSWER_TIMEOUT_S = 2


@dataclass(frozen=True)
class Service:
    """A process to run, and the address that answers 200 once it can be used.

    Attributes:
        name: shown before each line it says.
        command: the program and its arguments.
        environ: all of its environment.
        ready_url: answers 200 once it can be used, or that its first model cannot be had.
        models: those that answer there, the default first. Without a service that has some, the
            rest goes on as long as there are others; without one that has none, it does not.
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
        absent: why its first model cannot be had; empty where it can, or may still.
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
        self._output = threading.Thread(target=self._show_output, daemon=True)
        self._output.start()

    def _show_output(self) -> None:
        for line in self.process.stdout or ():
            if (shown := readable(line.rstrip())) is not None:
                say(f"{self.service.name:8} | {shown}")

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that can be had, or may still."""
        return self.service.models[1:] if self.absent else self.service.models

    def is_settled(self, http: requests.Session) -> bool:
        """Return whether the service can be used or never will; then it is not asked again."""
        if not self.ready and not self.absent:
            with contextlib.suppress(requests.RequestException):
                answer = http.get(self.service.ready_url, timeout=ANSWER_TIMEOUT_S)
                self.ready = answer.ok
                self.absent = _why_absent(answer)
        return self.ready or bool(self.absent)

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

    def clear_up(self) -> None:
        """End what the service left behind and wait until its last line is shown."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self._output.join(timeout=1)


def _why_absent(answer: requests.Response) -> str:
    """Return why a model cannot be had; nothing while it is loading, or where it is ready."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:
        return ""
    return problem.detail if problem.type.endswith(f":{ModelUnavailable.slug}") else ""


def stop(children: Sequence[Child], timeout_s: float) -> None:
    """End all processes of all services, by force those that have not ended in time."""
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        if not child.ends_by(deadline):
            say(f"{child.service.name} does not stop: killing it")
        child.clear_up()


def ended(code: int) -> str:
    """Return in words how a process ended."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
