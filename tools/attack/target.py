"""The backend that is attacked, those who ask it meanwhile, and how they fare."""

import http.client
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

import psutil

from imgserve.contract import PREDICT, READY
from tools.benchmarks.load import put_load, upload
from tools.benchmarks.models import MODEL
from tools.benchmarks.paths import ROOT
from tools.benchmarks.process import LOOPBACK, Child, Failed, free_port, tree

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
SAMPLE = (ROOT / "imgserve" / "samples" / "cat.jpg").read_bytes()
WATCH_PAUSE_S = 0.1
LIMIT_S = 30  # of one request here; no answer is waited for longer
CLIENTS = 8


@dataclass(frozen=True)
class Target:
    """A running backend."""

    port: int
    child: Child

    @property
    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that compute: the leaves, with memory of their own."""
        found = [*tree([self.child.pid])]
        return [process for process in found if "imgserve.models" in _command_line(process)]

    def rate(self, seconds: float) -> float:
        """Return the predictions a second that eight callers get."""
        request = upload(f"http://{LOOPBACK}:{self.port}{PREDICT}", SAMPLE)
        return put_load(request, clients=CLIENTS, seconds=seconds)["rate"]

    def is_ready(self) -> bool:
        """Return whether it says so."""
        with suppress(OSError, http.client.HTTPException):
            return ask(self.port, "GET", READY).status == http.HTTPStatus.OK
        return False


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    port: int, method: str, path: str, body: bytes = b"", media_type: str = "image/jpeg"
) -> Got:
    """Return the answer to one request on a connection of its own."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body or None, {"Content-Type": media_type} if body else {})
        response = connection.getresponse()
        return Got(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def backend(
    prefix: Sequence[str] = (), app: str = "backend_v1.app:app", **environ: str
) -> Iterator[Target]:
    """Run a backend; ``prefix`` is what runs the command, if anything."""
    port = free_port()
    own = {
        "HOST": LOOPBACK,
        "PORT": str(port),
        "MODEL_NAME": MODEL,
        "LOG_LEVEL": "WARNING",
        **environ,
    }
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    command = (*prefix, *GUNICORN, app)
    with Child("attacked", command, {**kept, **own}, limit_s=3600) as child:
        target = Target(port, child)
        child.wait_until(target.is_ready)
        yield target


class Watch:
    """Asks ``/ready`` on new connections, again and again, and remembers the longest wait."""

    def __init__(self, target: Target) -> None:
        self.longest_s = 0.0
        self.failures = 0
        self._target = target
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(WATCH_PAUSE_S):
            began = time.perf_counter()
            self.failures += not self._target.is_ready()
            self.longest_s = max(self.longest_s, time.perf_counter() - began)


def require_alive(target: Target) -> None:
    """Check that it still classifies.

    Raises:
        Failed: it does not.
    """
    got = ask(target.port, "POST", PREDICT, SAMPLE)
    if got.status != http.HTTPStatus.OK:
        raise Failed(f"after the attack it answers {got.status} {got.body[:200]!r}")
