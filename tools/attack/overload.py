"""Ten times as many callers as there is room for, and workers that die, hang or wait."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

from imgserve.contract import MODEL_PREDICT, PREDICT
from tools.attack.report import Row
from tools.attack.target import SAMPLE, Target, Watch, backend
from tools.benchmarks.models import MODEL
from tools.benchmarks.process import LOOPBACK, Child, free_port

OVERLOAD, FAULTS = "overload", "faults"
CALLERS = 700
LARGE_CALLERS = 66
LARGE_BYTES = 120_000
TEN_MB = 10_000_000
# Without an answer: a status that no server sends.
LOST = 0
GATEWAY = ("-m", "v3.gateway", "serve")


def run(target: Target, *, is_quick: bool) -> Iterator[Row]:
    """Yield how callers fare when there are far too many."""
    seconds = 3 if is_quick else 10
    larger = SAMPLE + bytes(LARGE_BYTES - len(SAMPLE) % LARGE_BYTES)
    cases = {
        "small pictures": (SAMPLE, CALLERS),
        "pictures of 120 kB": (larger, CALLERS),
        "pictures of 10 MB": (SAMPLE + bytes(TEN_MB - len(SAMPLE)), LARGE_CALLERS),
    }
    for what, (data, callers) in cases.items():
        with Watch(target) as watch:
            found = asyncio.run(_callers(target.port, PREDICT, data, callers, seconds))
        yield _row(what, callers, found, watch)


def run_gateway(*, is_quick: bool) -> Iterator[Row]:
    """Yield how callers fare behind v3's gateway, whose backend is full."""
    port = free_port()
    with backend(app="v3.backend.app:app", MAX_QUEUE="4") as target:
        environ = {**os.environ, "HOST": LOOPBACK, "PORT": str(port)}
        environ["BACKENDS"] = f"{MODEL}=http://{LOOPBACK}:{target.port}"
        with Child("attacked-gateway", (sys.executable, *GATEWAY), environ, limit_s=600) as gateway:
            through = Target(port, gateway)
            gateway.wait_until(through.is_ready)
            with Watch(through) as watch:
                path = MODEL_PREDICT.format(model=MODEL)
                data = SAMPLE + bytes(LARGE_BYTES)
                found = asyncio.run(_callers(port, path, data, 100, 3 if is_quick else 10))
    yield _row("pictures of 120 kB through the gateway, to a full backend", 100, found, watch)


def _row(what: str, callers: int, found: Counter[int], watch: Watch) -> Row:
    outcome = ", ".join(f"{status or 'lost'}: {count}" for status, count in sorted(found.items()))
    return Row(
        OVERLOAD,
        what,
        f"{callers} at once",
        f"{outcome}; /ready within {watch.longest_s:.2f} s, {watch.failures} failures",
        "200, or 503 with Retry-After; none lost",
        {*found} <= {200, 503} and not watch.failures,
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
        has_hint = status != 503 or b"\r\nretry-after:" in head.lower()  # noqa: PLR2004
        found[status if has_hint else -status] += 1
        if status != 200:  # noqa: PLR2004
            await asyncio.sleep(0.5)
        if b"\r\nconnection: close" in head.lower():
            streams[1].close()
            streams = None
    if streams:
        streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> bytes:
    """Send a request and return the head of its answer, which may come before all is sent."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].partition(b":")[2]))
    if b"\r\nconnection: close" not in head.lower():
        await writer.drain()
    return head


# --- faults --------------------------------------------------------------------------------------


def run_faults(target: Target) -> Iterator[Row]:
    """Yield what callers notice of a worker that is killed, or stopped."""
    for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        hit = threading.Timer(1, _signal_one, (target, number))
        hit.start()
        found = asyncio.run(_callers(target.port, PREDICT, SAMPLE, 8, 14))
        hit.join()
        began = time.monotonic()
        while not target.is_ready() and time.monotonic() < began + 30:
            time.sleep(0.1)
        outcome = ", ".join(f"{status or 'lost'}: {count}" for status, count in found.items())
        yield Row(
            FAULTS,
            f"a worker is {what} under 8 callers",
            "1",
            f"{outcome}; ready {time.monotonic() - began:.1f} s after the load",
            "200, or 503 for what it computed; none lost",
            {*found} <= {200, 503} and found[503] <= 2 and target.is_ready(),  # noqa: PLR2004
        )


def _signal_one(target: Target, number: int) -> None:
    os.kill(target.workers[0].pid, number)
