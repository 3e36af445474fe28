"""The backend that is attacked, those who ask it meanwhile, and how they fare."""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NamedTuple, Self

import psutil
import requests

from imgserve.contract import PREDICT, READY
from tools.benchmarks.plan import MODEL
from tools.benchmarks.programs import child, put_load, tree, upload
from tools.process import GUNICORN, LOOPBACK, ROOT, Failed, free_port

SAMPLE = (ROOT / "imgserve" / "samples" / "cat.jpg").read_bytes()
WATCH_PAUSE_S = 0.1
LIMIT_S = 30  # of one request here; no answer is waited for longer
CLIENTS = 8
OK, BUSY = 200, 503
# Without an answer: a status that no server sends.
LOST = 0


class Target(NamedTuple):
    """A running server: its port, and the process that was started."""

    port: int
    pid: int

    @property
    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that compute: the leaves, with memory of their own."""
        found = []
        for process in tree([self.pid]):
            with suppress(psutil.Error):
                found += [process] if "imgserve.models" in " ".join(process.cmdline()) else []
        return found

    def rate(self, seconds: float) -> float:
        """Return the predictions a second that eight callers get."""
        request = upload(f"http://{LOOPBACK}:{self.port}{PREDICT}", SAMPLE)
        return put_load(request, clients=CLIENTS, seconds=seconds)["rate"]

    def ask(
        self, method: str, path: str, body: bytes = b"", media_type: str = "image/jpeg"
    ) -> requests.Response:
        """Return the answer to one request on a connection of its own."""
        url, headers = f"http://{LOOPBACK}:{self.port}{path}", {"Content-Type": media_type}
        request = requests.Request(method, url, headers if body else {}, data=body).prepare()
        with requests.Session() as session:
            return session.send(request, timeout=LIMIT_S)

    def is_ready(self) -> bool:
        """Return whether it says so."""
        with suppress(requests.RequestException):
            return self.ask("GET", READY).ok
        return False

    def require_alive(self) -> None:
        """Check that it still classifies.

        Raises:
            Failed: it does not.
        """
        got = self.ask("POST", PREDICT, SAMPLE)
        if not got.ok:
            raise Failed(f"after the attack it answers {got.status_code} {got.content[:200]!r}")


@contextmanager
def started(name: str, command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Target]:
    """Run a server until the end of the block, once it is ready."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    port = free_port()
    own = {"HOST": LOOPBACK, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    with child(name, command, {**kept, **own, **environ}) as server:
        target = Target(port, server.pid)
        server.wait_until(target.is_ready)
        yield target


def backend(
    prefix: Sequence[str] = (), app: str = "backend_v1.app:app", **environ: str
) -> AbstractContextManager[Target]:
    """Run a backend; ``prefix`` is what runs the command, if anything."""
    return started("attacked", (*prefix, *GUNICORN, app), {"MODEL_NAME": MODEL, **environ})


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

    def __str__(self) -> str:
        return f"/ready within {self.longest_s:.2f} s, {self.failures} failures"

    def _run(self) -> None:
        while not self._is_over.wait(WATCH_PAUSE_S):
            began = time.perf_counter()
            self.failures += not self._target.is_ready()
            self.longest_s = max(self.longest_s, time.perf_counter() - began)


def post(path: str, picture: bytes) -> bytes:
    """Return a request that carries a picture."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    return f"{head}Content-Length: {len(picture)}\r\n\r\n".encode() + picture


async def callers(
    port: int, request: bytes, count: int, seconds: float, pause_s: float = 0.0
) -> Counter[int]:
    """Return how often callers got each status, who ask again so many seconds after an answer.

    That of a 503 without ``Retry-After`` is negative.
    """
    found: Counter[int] = Counter()
    end = time.monotonic() + seconds
    await asyncio.gather(*(_ask_again(port, request, end, pause_s, found) for _ in range(count)))
    return found


async def _ask_again(
    port: int, request: bytes, end: float, pause_s: float, found: Counter[int]
) -> None:
    """Ask until the time is over, on one connection as long as the server keeps it."""
    streams = None
    while time.monotonic() < end:
        try:
            streams = streams or await asyncio.open_connection(LOOPBACK, port)
            head = await asyncio.wait_for(_exchange(*streams, request), 60)
        except (OSError, EOFError, TimeoutError, ValueError):
            found[LOST] += 1
            streams = None
            await asyncio.sleep(0.1)
            continue
        status = int(head.split()[1])
        has_hint = status != BUSY or b"\r\nretry-after:" in head
        found[status if has_hint else -status] += 1
        await asyncio.sleep(pause_s if status == OK else 0.5)
        if b"\r\nconnection: close" in head:
            streams[1].close()
            streams = None
    if streams:
        streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> bytes:
    """Send a request; return the head of its answer, in small letters, which may come before."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"\r\ncontent-length:")[2].split()[0]))
    if b"\r\nconnection: close" not in head:
        await writer.drain()
    return head
