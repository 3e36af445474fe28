"""Put a question to the backend, and keep the person informed while it wakes up."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from imgserve.contract import PredictAnswer
from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure, failure
from imgserve.frontend.session import TOP, Picture
from imgserve.frontend.waking import retry_while_waking

T = TypeVar("T")

# Cloud Run holds a request while a container starts: silence this long means that, most likely.
NOTICE_AFTER_S = 4.0
JPEG_DATA = "data:image/jpeg;base64,"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """The backend's answer and how long the page waited for it."""

    answer: PredictAnswer
    round_trip_ms: float

    @property
    def thumbnail(self) -> str | None:
        """Return the picture that came back, and nothing else that the field may hold.

        A browser would fetch an address, and Streamlit read a path.
        """
        thumbnail = self.answer.thumbnail
        return thumbnail if thumbnail and thumbnail.startswith(JPEG_DATA) else None


def outcome_now(
    picture: Picture, backend: BackendClient, model: str | None = None
) -> Answered | Failure:
    """Return the answer, or what to say instead; try once."""
    try:
        return timed_answer(picture, backend, model)
    except BackendError as exc:
        return explained(exc)


def patient_answer(
    picture: Picture,
    backend: BackendClient,
    model: str | None = None,
    *,
    wake_timeout_s: float,
    notice: Callable[[], None],
) -> Answered:
    """Return the answer, giving the backend time to wake up.

    Args:
        picture: what to classify.
        backend: who classifies it.
        model: with which model; without it, the backend's own.
        wake_timeout_s: how long to go on asking a backend that is not there yet.
        notice: called, in this thread, whenever the wait turns out to be a long one.

    Raises:
        BackendError: there is no answer.
    """
    return patiently(
        lambda: timed_answer(picture, backend, model),
        wake_timeout_s=wake_timeout_s,
        notice=notice,
    )


def patiently(call: Callable[[], T], *, wake_timeout_s: float, notice: Callable[[], None]) -> T:
    """Return what ``call`` asks of a backend, giving it time to wake up; as ``patient_answer``."""
    return retry_while_waking(
        lambda: _noticed(call, notice), timeout_s=wake_timeout_s, on_wait=notice
    )


def explained(error: BackendError) -> Failure:
    """Return what to tell the person, and tell the log what happened."""
    log.warning("%s: %s", type(error).__name__, error)
    return failure(error)


def timed_answer(
    picture: Picture, backend: BackendClient, model: str | None, top_k: int = TOP
) -> Answered:
    """Return the answer and how long it took.

    Raises:
        BackendError: there is none.
    """
    started = time.perf_counter()
    answer = picture.classify(backend, model, top_k)
    return Answered(answer, (time.perf_counter() - started) * 1000)


def _noticed(call: Callable[[], T], notice: Callable[[], None]) -> T:
    """Return what ``call`` returns, calling ``notice`` every now and then while it lasts.

    ``notice`` draws on the page, so it is also where Streamlit abandons this run for a newer one;
    the call is then left to end by itself.
    """
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        future: Future[T] = pool.submit(call)
        while not wait([future], timeout=NOTICE_AFTER_S).done:
            notice()
        return future.result()
    finally:
        pool.shutdown(wait=False)
