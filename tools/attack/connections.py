"""Callers who are slow, silent, or do not close."""

import argparse
import asyncio
import time
from collections.abc import Iterator
from statistics import median

from imgserve.contract import HELLO, PREDICT
from tools.attack.report import Row
from tools.attack.target import OK, Target, Watch, backend, callers
from tools.process import LOOPBACK

DRIP_S = 2.0  # between bytes
# How long /ready takes, and the share of the predictions without an attack: in the long form, and
# in the short one, which runs where other work may.
GOALS = {False: (0.5, 0.9), True: (1.0, 0.5)}
ROUNDS = 3
RECOVERY_S = 120
DISTANT_S = 0.1
DISTANT_CALLERS = 40
LEAST_DISTANT_RATE = 0.8

GET = f"GET {HELLO} HTTP/1.1\r\nHost: x\r\n".encode()
KEEPING, CLOSING = GET + b"\r\n", GET + b"Connection: close\r\n\r\n"
POST = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n".encode()
# How many there are, what each sends at first, and whether a byte now and then.
ATTACKS = {
    "ask for the connection to be closed, and do not close it": (30, CLOSING, False),
    "say nothing": (74, b"", False),
    "say nothing at all": (1000, b"", False),
    "send a head byte by byte": (80, b"G", True),
    "send a body byte by byte": (66, POST + b"Content-Length: 100000\r\n\r\n", True),
    "keep the connection, and ask no more": (1100, KEEPING, False),
}


def run(given: argparse.Namespace) -> Iterator[Row]:
    """Yield what came of each kind of caller."""
    seconds, (most_s, least) = (2 if given.quick else 4), GOALS[given.quick]
    with backend() as target:
        target.rate(1)  # warm
        for what, (count, first, drips) in ATTACKS.items():
            with Watch(target) as watch:
                share = asyncio.run(_attack(target, seconds, count, first, drips=drips))
            yield Row(
                what,
                f"{count} at once, {ROUNDS} times",
                f"{watch}; predictions at {share:.2f} of their rate",
                f"{most_s:g} s, {least:g}",
                watch.longest_s <= most_s and not watch.failures and share >= least,
            )
        yield asyncio.run(_distant(target.port, 2 * seconds))


async def _attack(target: Target, seconds: int, count: int, first: bytes, *, drips: bool) -> float:
    """Return the rate of predictions beside these callers, as a share of that without, in turns."""
    alone, attacked = [], []
    for _ in range(ROUNDS):
        await _recovered(target)
        alone.append(await asyncio.to_thread(target.rate, seconds))
        callers = [
            asyncio.ensure_future(_call(target.port, first, drips=drips)) for _ in range(count)
        ]
        await asyncio.sleep(1)
        attacked.append(await asyncio.to_thread(target.rate, seconds))
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    # A server that has not recovered answers few alone, too: that is no measure.
    return median(attacked) / max(median(alone), max(alone) / 2, 1)


async def _call(port: int, first: bytes, *, drips: bool) -> None:
    """Be one caller, again as soon as the server has closed the connection."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(first)
            while drips:
                await asyncio.sleep(DRIP_S)
                writer.write(b"x")
                await writer.drain()
            while await reader.read(65536) or not reader.at_eof():
                pass
            await asyncio.sleep(DRIP_S)  # the server has closed; this caller takes its time
        except OSError:
            await asyncio.sleep(DRIP_S)


async def _recovered(target: Target) -> None:
    """Wait until an answer comes at once, after the attack before."""
    end = time.monotonic() + RECOVERY_S
    while (began := time.monotonic()) < end:
        if await asyncio.to_thread(target.is_ready) and time.monotonic() - began < DISTANT_S:
            return


async def _distant(port: int, seconds: float) -> Row:
    """Compare callers who close each connection, 100 ms away, with callers who keep theirs."""
    rates: dict[bytes, float] = {}
    for request in (KEEPING, CLOSING, KEEPING, CLOSING):
        # What such a caller sends arrives late, and so does the end of its connection.
        found = await callers(port, request, DISTANT_CALLERS, seconds, pause_s=DISTANT_S)
        rates[request] = max(found[OK] / seconds, rates.get(request, 0))
    ratio = rates[CLOSING] / rates[KEEPING]
    return Row(
        f"honest callers {1000 * DISTANT_S:.0f} ms away close each connection",
        f"{DISTANT_CALLERS} at once",
        f"{rates[CLOSING]:.0f} answers a second, {ratio:.2f} of those with kept connections",
        f"{LEAST_DISTANT_RATE}",
        ratio >= LEAST_DISTANT_RATE,
    )
