"""Ten times as many callers as there is room for, and workers that die, hang or wait."""

import argparse
import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

from imgserve.contract import MODEL_PREDICT, PREDICT
from tools.attack.report import Row, counted
from tools.attack.target import SAMPLE, Target, Watch, backend, started
from tools.benchmarks.models import MODEL
from tools.benchmarks.servers import GATEWAY
from tools.process import LOOPBACK

LARGE_BYTES = 120_000
CALLERS = 700
CASES = {
    "small pictures": (SAMPLE, CALLERS),
    "pictures of 120 kB": (SAMPLE.ljust(LARGE_BYTES, b"\0"), CALLERS),
    "pictures of 10 MB": (SAMPLE.ljust(10_000_000, b"\0"), 66),
}
OK, BUSY = 200, 503
MOST_BUSY = 2  # answers, of a worker that is lost
# Without an answer: a status that no server sends.
LOST = 0


def run(given: argparse.Namespace) -> Iterator[Row]:
    """Yield how callers fare when there are far too many."""
    with backend() as target:
        for what, case in CASES.items():
            yield _overloaded(target, what, case, PREDICT, is_quick=given.quick)


def run_gateway(given: argparse.Namespace) -> Iterator[Row]:
    """Yield how callers fare behind v3's gateway, whose backend is full."""
    what = "pictures of 120 kB through the gateway, to a full backend"
    case, path = (SAMPLE + bytes(LARGE_BYTES), 100), MODEL_PREDICT.format(model=MODEL)
    with backend(app="v3.backend.app:app", MAX_QUEUE="4") as target:
        backends = {"BACKENDS": f"{MODEL}=http://{LOOPBACK}:{target.port}"}
        with started("attacked-gateway", GATEWAY, backends) as gateway:
            yield _overloaded(gateway, what, case, path, is_quick=given.quick)


def _overloaded(
    target: Target, what: str, case: tuple[bytes, int], path: str, *, is_quick: bool
) -> Row:
    data, count = case
    with Watch(target) as watch:
        found = asyncio.run(_callers(target.port, path, data, count, 3 if is_quick else 10))
    return Row(
        what,
        f"{count} at once",
        f"{counted(found)}; {watch}",
        "200, or 503 with Retry-After; none lost",
        {*found} <= {OK, BUSY} and not watch.failures,
    )


async def _callers(port: int, path: str, data: bytes, count: int, seconds: float) -> Counter[int]:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    request = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
    found: Counter[int] = Counter()
    end = time.monotonic() + seconds
    await asyncio.gather(*(_ask_again(port, request, end, found) for _ in range(count)))
    return found


async def _ask_again(port: int, request: bytes, end: float, found: Counter[int]) -> None:
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
        if status != OK:
            await asyncio.sleep(0.5)
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


def run_faults(_: argparse.Namespace) -> Iterator[Row]:
    """Yield what callers notice of a worker that is killed, or stopped."""
    with backend() as target:
        for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
            hit = threading.Timer(1, lambda number=number: os.kill(target.workers[0].pid, number))
            hit.start()
            found = asyncio.run(_callers(target.port, PREDICT, SAMPLE, 8, 14))
            hit.join()
            began = time.monotonic()
            while not target.is_ready() and time.monotonic() < began + 30:
                time.sleep(0.1)
            yield Row(
                f"a worker is {what} under 8 callers",
                "1",
                f"{counted(found)}; ready {time.monotonic() - began:.1f} s after the load",
                "200, or 503 for what it computed; none lost",
                {*found} <= {OK, BUSY} and found[BUSY] <= MOST_BUSY and target.is_ready(),
            )
