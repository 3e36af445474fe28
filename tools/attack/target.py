"""The backend that is attacked, those who ask it meanwhile, and what came of it."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NamedTuple, Self

import psutil

from imgserve.contract import PREDICT, READY
from tools.benchmarks.plan import MODEL
from tools.benchmarks.programs import put_load, tree, upload
from tools.benchmarks.servers import Program
from tools.process import GUNICORN, LOOPBACK, ROOT, Failed, free_port

SAMPLE = (ROOT / "imgserve" / "samples" / "cat.jpg").read_bytes()
OK, BUSY, FIRST_FAULT = 200, 503, 500
LOST = 0  # without an answer: a status that no server sends


class Row(NamedTuple):
    """One attack, as the document has it."""

    what: str
    tried: str  # how often, or how many at once
    outcome: str
    goal: str
    is_held: bool


def tally(found: Mapping[int, int] | Mapping[str, int]) -> str:
    """Return how often each status was answered; what got no answer has none."""
    return ", ".join(f"{status or 'lost'}: {count}" for status, count in sorted(found.items()))


def post(path: str, body: bytes, media_type: str = "image/jpeg") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


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
        asked = upload(f"http://{LOOPBACK}:{self.port}{PREDICT}", SAMPLE)
        return put_load(asked, clients=8, seconds=seconds)["rate"]

    def answers(
        self, requests: Iterable[bytes], callers: int = 1, seconds: float = 3600, pause_s: float = 0
    ) -> Counter[int]:
        """Return how often callers got each status, who share these requests.

        Each asks again so many seconds after an answer, later after a 503, until none is left or
        the time is over. The status of a 503 without ``Retry-After`` is negative.
        """
        found: Counter[int] = Counter()
        shared, end = iter(requests), time.monotonic() + seconds

        async def ask() -> None:
            calls = (_ask(self.port, shared, end, pause_s, found) for _ in range(callers))
            await asyncio.gather(*calls)

        asyncio.run(ask())
        return found

    def is_ready(self) -> bool:
        return self.answers([f"GET {READY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()])[OK] > 0

    def require_alive(self) -> None:
        """Check that it still classifies; Failed where it does not."""
        if [*(got := self.answers([post(PREDICT, SAMPLE)]))] != [OK]:
            raise Failed(f"after the attack it answers {tally(got)}")


async def _ask(
    port: int, requests: Iterator[bytes], end: float, pause_s: float, found: Counter[int]
) -> None:
    """Send requests one after the other, on one connection as long as the server keeps it."""
    streams = None
    while time.monotonic() < end and (message := next(requests, b"")):
        try:
            streams = streams or await asyncio.open_connection(LOOPBACK, port)
            head = await asyncio.wait_for(_exchange(*streams, message), timeout=60)
        except (OSError, EOFError, TimeoutError, ValueError):
            found[LOST] += 1
            streams = None
            await asyncio.sleep(0.1)
            continue
        status = int(head.split()[1])
        has_hint = status != BUSY or b"\r\nretry-after:" in head
        found[status if has_hint else -status] += 1
        await asyncio.sleep(0.5 if status == BUSY else pause_s)
        if b"\r\nconnection: close" in head:
            streams[1].close()
            streams = None
    if streams:
        streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> bytes:
    """Send a request; return the head of its answer, in small letters, which may come before."""
    writer.write(message)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"\r\ncontent-length:")[2].split()[0]))
    if b"\r\nconnection: close" not in head:
        await writer.drain()
    return head


@contextmanager
def started(name: str, command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Target]:
    """Run a server until the end of the block, once it is ready."""
    program = Program(name, command, {"LOG_LEVEL": "WARNING", **environ}, "", free_port())
    with program.running() as server:
        target = Target(program.port, server.pid)
        server.wait_until(target.is_ready)
        yield target


def backend(
    prefix: Sequence[str] = (), app: str = "backend_v1.app:app", **environ: str
) -> AbstractContextManager[Target]:
    """Run a backend; ``prefix`` is what runs the command, if anything."""
    return started("attacked", (*prefix, *GUNICORN, app), {"MODEL_NAME": MODEL, **environ})


class Watch(threading.Thread):
    """Asks ``/ready`` on new connections, again and again, and remembers the longest wait."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self.longest_s, self.failures = 0.0, 0
        self._target, self._is_over = target, threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def __str__(self) -> str:
        return f"/ready within {self.longest_s:.2f} s, {self.failures} failures"

    def run(self) -> None:
        while not self._is_over.wait(0.1):
            began = time.perf_counter()
            self.failures += not self._target.is_ready()
            self.longest_s = max(self.longest_s, time.perf_counter() - began)
