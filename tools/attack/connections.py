"""Callers who are slow, silent, or do not close."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import NamedTuple

from imgserve.contract import HELLO, PREDICT
from tools.attack.report import Row
from tools.attack.target import Target, Watch
from tools.benchmarks.process import LOOPBACK

KIND = "slow callers"
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
CLOSING = GET + b"Connection: close\r\n\r\n"
POST = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n".encode()
# What each sends at first, and whether a byte now and then.
ATTACKS = {
    "ask for the connection to be closed, and do not close it": (
        30,
        GET + b"Connection: close\r\n\r\n",
        False,
    ),
    "say nothing": (74, b"", False),
    "say nothing at all": (1000, b"", False),
    "send a head byte by byte": (80, b"G", True),
    "send a body byte by byte": (66, POST + b"Content-Length: 100000\r\n\r\n", True),
    "keep the connection, and ask no more": (1100, GET + b"\r\n", False),
}


def run(target: Target, *, is_quick: bool) -> Iterator[Row]:
    """Yield what came of each kind of caller."""
    seconds, goal = (2 if is_quick else 4), GOALS[is_quick]
    target.rate(1)  # warm
    for what, (count, first, drips) in ATTACKS.items():
        call = _caller(target.port, first, drips)
        found = _attack(target, count, call, seconds)
        yield _row(what, count, asyncio.run(found), goal)
    yield asyncio.run(_distant(target.port, 2 * seconds))


def _caller(port: int, first: bytes, drips: bool) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        """Be that caller, again as soon as the server has closed the connection."""
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

    return call


class Found(NamedTuple):
    """What came of an attack."""

    ready_s: float  # the longest wait for /ready
    failures: int  # of /ready
    share: float  # of the predictions without the attack


async def _attack(
    target: Target, count: int, call: Callable[[], Awaitable[None]], seconds: int
) -> Found:
    """Compare the rate with and without these callers, in turns."""
    alone, attacked = [], []
    with Watch(target) as watch:
        for _ in range(ROUNDS):
            await _recovered(target)
            alone.append(await asyncio.to_thread(target.rate, seconds))
            callers = [asyncio.ensure_future(call()) for _ in range(count)]
            await asyncio.sleep(1)
            attacked.append(await asyncio.to_thread(target.rate, seconds))
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
    # A server that has not recovered answers few alone, too: that is no measure.
    share = median(attacked) / max(median(alone), max(alone) / 2, 1)
    return Found(watch.longest_s, watch.failures, share)


def _row(what: str, count: int, found: Found, goal: tuple[float, float]) -> Row:
    most_s, least = goal
    return Row(
        KIND,
        what,
        f"{count} at once, {ROUNDS} times",
        f"/ready within {found.ready_s:.2f} s, {found.failures} failures; predictions at "
        f"{found.share:.2f} of their rate",
        f"{most_s:g} s, {least:g}",
        found.ready_s <= most_s and not found.failures and found.share >= least,
    )


async def _recovered(target: Target) -> None:
    """Wait until an answer comes at once, after the attack before."""
    end = time.monotonic() + RECOVERY_S
    while (began := time.monotonic()) < end:
        if await asyncio.to_thread(target.is_ready) and time.monotonic() - began < DISTANT_S:
            return


async def _distant(port: int, seconds: float) -> Row:
    """Compare callers who close each connection, 100 ms away, with callers who keep theirs."""
    rates: dict[bool, list[float]] = {}
    for keeps in (True, False, True, False):
        answered = await asyncio.gather(
            *(_ask_from_afar(port, seconds, keeps=keeps) for _ in range(DISTANT_CALLERS))
        )
        rates.setdefault(keeps, []).append(sum(answered) / seconds)
    ratio = max(rates[False]) / max(rates[True])
    return Row(
        KIND,
        f"honest callers {1000 * DISTANT_S:.0f} ms away close each connection",
        f"{DISTANT_CALLERS} at once",
        f"{max(rates[False]):.0f} answers a second, {ratio:.2f} of those with kept connections",
        f"{LEAST_DISTANT_RATE}",
        ratio >= LEAST_DISTANT_RATE,
    )


async def _ask_from_afar(port: int, seconds: float, *, keeps: bool) -> int:
    """Ask as often as can be; what is sent arrives late, and so does the end of the connection."""
    end, answered, writer = time.monotonic() + seconds, 0, None
    while time.monotonic() < end:
        if writer is None:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(GET + b"\r\n" if keeps else CLOSING)
        await reader.readuntil(b"Hello")
        answered += 1
        await asyncio.sleep(DISTANT_S)
        if not keeps:
            writer.close()
            writer = None
    if writer:
        writer.close()
    return answered
