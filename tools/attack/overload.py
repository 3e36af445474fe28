"""Ten times as many callers as there is room for, and workers that die, hang or wait."""

import argparse
import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

from imgserve.contract import MODEL_PREDICT, PREDICT
from tools.attack.report import Row, counted
from tools.attack.target import BUSY, OK, SAMPLE, Target, Watch, backend, callers, post, started
from tools.benchmarks.plan import MODEL
from tools.process import GATEWAY, LOOPBACK

LARGE_BYTES = 120_000
CALLERS = 700
CASES = {
    "small pictures": (SAMPLE, CALLERS),
    "pictures of 120 kB": (SAMPLE.ljust(LARGE_BYTES, b"\0"), CALLERS),
    "pictures of 10 MB": (SAMPLE.ljust(10_000_000, b"\0"), 66),
}
MOST_BUSY = 2  # answers, of a worker that is lost


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
        found = asyncio.run(callers(target.port, post(path, data), count, 3 if is_quick else 10))
    return Row(
        what,
        f"{count} at once",
        f"{counted(found)}; {watch}",
        "200, or 503 with Retry-After; none lost",
        {*found} <= {OK, BUSY} and not watch.failures,
    )


def run_faults(_: argparse.Namespace) -> Iterator[Row]:
    """Yield what callers notice of a worker that is killed, or stopped."""
    with backend() as target:
        for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
            hit = threading.Timer(1, lambda number=number: os.kill(target.workers[0].pid, number))
            hit.start()
            found = asyncio.run(callers(target.port, post(PREDICT, SAMPLE), 8, 14))
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
