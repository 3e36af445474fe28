"""Wait for a backend, and keep the person informed while it wakes up."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from imgserve.errors import BackendError, PictureHostRefused, RequestRefused
from imgserve.frontend.messages import FAILURES, Failure

T = TypeVar("T")

# Cloud Run holds a request while a container starts: silence this long means that, most likely.
NOTICE_AFTER_S = 4.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to go on asking a backend that is not there yet."""

    timeout_s: float  # no attempt starts later than this after the first
    on_wait: Callable[[], None]  # called in this thread whenever the wait turns out to be long

    def call(self, call: Callable[[], T]) -> T:
        """Return what ``call`` asks of a backend, giving that time to wake up."""
        return retry_while_waking(
            lambda: watch([call], self.on_wait, every_s=NOTICE_AFTER_S)[0],
            timeout_s=self.timeout_s,
            on_wait=self.on_wait,
        )


def retry_while_waking(
    call: Callable[[], T], *, timeout_s: float, on_wait: Callable[[], None]
) -> T:
    """Return what ``call`` returns, trying again while its backend may be waking up.

    No attempt starts later than ``timeout_s`` after the first; ``on_wait`` is called before each
    pause, to tell the person.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda exc: getattr(exc, "may_wake", False)),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=3, jitter=0.5),
        stop=tenacity.stop_before_delay(timeout_s),
        before_sleep=lambda _: on_wait(),
        reraise=True,
    )
    return attempts(call)


def watch(
    calls: Sequence[Callable[[], T]],
    on_wait: Callable[[], None],
    *,
    every_s: float,
    at_once: int = 1,
) -> list[T]:
    """Return what the calls return, so many at once; meanwhile call ``on_wait`` now and then.

    ``on_wait`` draws on the page, so it is also where Streamlit abandons this run for a newer one;
    calls that run are then left to end by themselves. What a call raises ends the others, too.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        futures = [pool.submit(call) for call in calls]
        left = set(futures)
        while left:
            done, left = wait(left, timeout=every_s, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if left:
                on_wait()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def explained(error: BackendError) -> Failure:
    """Return what to tell the person, and tell the log what happened."""
    log.warning("%s: %s", type(error).__name__, error)
    if not isinstance(error, RequestRefused):
        return FAILURES[type(error)]
    again = error.status >= 500 and error.slug != PictureHostRefused.slug  # noqa: PLR2004
    detail = str(error).rstrip()
    stop = "" if detail.endswith((".", "!", "?")) else "."
    return Failure(detail[:1].upper() + detail[1:] + stop, again=again, slug=error.slug)
