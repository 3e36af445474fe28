"""Callers who are slow, silent, do not close or are too many, and workers that die meanwhile."""

import argparse
import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat
from statistics import median

from imgserve.contract import HELLO, MODEL_PREDICT, PREDICT
from tools.attack.target import BUSY, OK, SAMPLE, Row, Target, Watch, backend, post, started, tally
from tools.benchmarks.plan import MODEL
from tools.process import GATEWAY, LOOPBACK

DRIP_S = 2.0  # between bytes
# How long /ready takes, and the share of the predictions without an attack: in the long form, and
# in the short one, which runs where other work may.
GOALS = {False: (0.5, 0.9), True: (1.0, 0.5)}
ROUNDS = 3
DISTANT_S = 0.1
DISTANT_CALLERS = 40
LEAST_DISTANT_RATE = 0.8

GET = f"GET {HELLO} HTTP/1.1\r\nHost: x\r\n".encode()
KEEPING, CLOSING = GET + b"\r\n", GET + b"Connection: close\r\n\r\n"
POST = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n".encode()
# How many there are, what each sends at first, and whether a byte now and then.
SLOW = {
    "ask for the connection to be closed, and do not close it": (30, CLOSING, False),
    "say nothing": (74, b"", False),
    "say nothing at all": (1000, b"", False),
    "send a head byte by byte": (80, b"G", True),
    "send a body byte by byte": (66, POST + b"Content-Length: 100000\r\n\r\n", True),
    "keep the connection, and ask no more": (1100, KEEPING, False),
}
LARGE_BYTES = 120_000
# What each sends, and how many there are.
MANY = {
    "small pictures": (SAMPLE, 700),
    "pictures of 120 kB": (SAMPLE.ljust(LARGE_BYTES, b"\0"), 700),
    "pictures of 10 MB": (SAMPLE.ljust(10_000_000, b"\0"), 66),
}
MOST_BUSY = 2  # answers, of a worker that is lost


def run_slow(given: argparse.Namespace) -> Iterator[Row]:
    """Yield what came of each kind of slow caller."""
    seconds, (most_s, least) = (2 if given.quick else 4), GOALS[given.quick]
    with backend() as target:
        target.rate(1)  # warm
        for what, (count, first, drips) in SLOW.items():
            with Watch(target) as watch:
                share = asyncio.run(_attack(target, seconds, count, first, drips=drips))
            yield Row(
                what,
                f"{count} at once, {ROUNDS} times",
                f"{watch}; predictions at {share:.2f} of their rate",
                f"{most_s:g} s, {least:g}",
                watch.longest_s <= most_s and not watch.failures and share >= least,
            )
        yield _distant(target, 2 * seconds)


async def _attack(target: Target, seconds: int, count: int, first: bytes, *, drips: bool) -> float:
    """Return the rate of predictions beside these callers, as a share of that without, in turns."""
    alone, attacked = [], []
    for _ in range(ROUNDS):
        await asyncio.to_thread(_recover, target)
        alone.append(await asyncio.to_thread(target.rate, seconds))
        calls = [asyncio.create_task(_call(target.port, first, drips=drips)) for _ in range(count)]
        await asyncio.sleep(1)
        attacked.append(await asyncio.to_thread(target.rate, seconds))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    # A server that has not recovered answers few alone, too: that is no measure.
    return median(attacked) / max(median(alone), max(alone) / 2, 1)


async def _call(port: int, first: bytes, *, drips: bool) -> None:
    """Be one caller, again as soon as the server has closed the connection."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(first)
            while drips:
                await asyncio.sleep(DRIP_S)
                writer.write(b"x")
                await writer.drain()
            await reader.read()
        await asyncio.sleep(DRIP_S)  # the server has closed; this caller takes its time


def _recover(target: Target) -> None:
    """Wait until an answer comes at once, after the attack before."""
    end = time.monotonic() + 120
    while (began := time.monotonic()) < end:
        if target.is_ready() and time.monotonic() - began < DISTANT_S:
            return


def _distant(target: Target, seconds: float) -> Row:
    """Compare callers who close each connection, 100 ms away, with callers who keep theirs."""
    rates = dict.fromkeys((KEEPING, CLOSING), 0.0)
    for message in (KEEPING, CLOSING) * 2:
        # What such a caller sends arrives late, and so does the end of its connection.
        found = target.answers(repeat(message), DISTANT_CALLERS, seconds, DISTANT_S)
        rates[message] = max(found[OK] / seconds, rates[message])
    ratio = rates[CLOSING] / rates[KEEPING]
    return Row(
        f"honest callers {1000 * DISTANT_S:.0f} ms away close each connection",
        f"{DISTANT_CALLERS} at once",
        f"{rates[CLOSING]:.0f} answers a second, {ratio:.2f} of those with kept connections",
        f"{LEAST_DISTANT_RATE}",
        ratio >= LEAST_DISTANT_RATE,
    )


def run_many(given: argparse.Namespace) -> Iterator[Row]:
    """Yield how callers fare when there are far too many."""
    with backend() as target:
        for what, (picture, count) in MANY.items():
            yield _overload(target, what, post(PREDICT, picture), count, quick=given.quick)


def run_gateway(given: argparse.Namespace) -> Iterator[Row]:
    """Yield how callers fare behind v3's gateway, whose backend is full."""
    what = "pictures of 120 kB through the gateway, to a full backend"
    message = post(MODEL_PREDICT.format(model=MODEL), SAMPLE + bytes(LARGE_BYTES))
    with backend(app="v3.backend.app:app", MAX_QUEUE="4") as target:
        backends = {"BACKENDS": f"{MODEL}=http://{LOOPBACK}:{target.port}"}
        with started("attacked-gateway", GATEWAY, backends) as gateway:
            yield _overload(gateway, what, message, 100, quick=given.quick)


def _overload(target: Target, what: str, message: bytes, count: int, *, quick: bool) -> Row:
    with Watch(target) as watch:
        found = target.answers(repeat(message), count, seconds=3 if quick else 10)
    return Row(
        what,
        f"{count} at once",
        f"{tally(found)}; {watch}",
        "200, or 503 with Retry-After; none lost",
        {*found} <= {OK, BUSY} and not watch.failures,
    )


def run_faults(_: argparse.Namespace) -> Iterator[Row]:
    """Yield what callers notice of a worker that is killed, or stopped."""
    with backend() as target:
        for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
            hit = threading.Timer(1, lambda number=number: os.kill(target.workers[0].pid, number))
            hit.start()
            found = target.answers(repeat(post(PREDICT, SAMPLE)), 8, seconds=14)
            hit.join()
            began = time.monotonic()
            _recover(target)
            yield Row(
                f"a worker is {what} under 8 callers",
                "1",
                f"{tally(found)}; ready {time.monotonic() - began:.1f} s after the load",
                "200, or 503 for what it computed; none lost",
                {*found} <= {OK, BUSY} and found[BUSY] <= MOST_BUSY and target.is_ready(),
            )
