"""Wait for a backend, and keep the person informed while it wakes up."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import tenacity
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError, PictureHostRefused, RequestRefused
from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient, Picture
from imgserve.frontend.messages import FAILURES, Failure, say

T = TypeVar("T")

# Cloud Run holds a request while a container starts: silence this long means that, most likely.
NOTICE_AFTER_S = 4.0
WAKING = "The classifier is waking up, which can take a minute. This page keeps trying."
SLOW_HOST = "The host of this picture is slow to send it. This page is still waiting."
BUSY = "The classifier is taking its time. This page is still waiting."

log = logging.getLogger(__name__)


@dataclass
class Asking:
    """A question on its way to a backend, and the place on the page that says how it goes."""

    pictures: Sequence[Picture]
    backend: BackendClient
    place: DeltaGenerator
    timeout_s: float  # how long to try while the backend is not there yet
    model: str | None = None  # who is asked; without it the backend's own

    def patiently(self, call: Callable[[], T]) -> T:
        """Return what ``call`` asks of the backend, giving that time to wake up."""
        return retry_while_waking(
            lambda: watch([call], self.say_why, every_s=NOTICE_AFTER_S)[0],
            timeout_s=self.timeout_s,
            on_wait=self.say_why,
        )

    def say_why(self) -> None:
        """Draw why the answer is late, as far as the backend tells."""
        words = SLOW_HOST if len(self.pictures) == 1 and self.pictures[0].url else BUSY
        if not self.backend.is_ready(self.model):
            words = WAKING
        self.place.html(markup.waiting(say(words)))


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
