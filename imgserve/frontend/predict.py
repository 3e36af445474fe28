"""Put a question to the backend, and keep the person informed while it wakes up."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from imgserve.contract import PredictAnswer
from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient, retry_while_waking
from imgserve.frontend.messages import Failure, failure
from imgserve.frontend.session import LinkedPicture, Picture, Question

T = TypeVar("T")

# Cloud Run holds a request while a container starts: silence this long means that, most likely.
NOTICE_AFTER_S = 4.0
WAKING = "The classifier is waking up, which can take a minute. This page keeps trying."
SLOW_HOST = "The host of this picture is slow to send it. This page is still waiting."
BUSY = "The classifier is taking its time. This page is still waiting."
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


@dataclass(frozen=True)
class Patience:
    """How long to go on asking a backend that is not there yet."""

    timeout_s: float  # no attempt starts later than this after the first
    on_wait: Callable[[], None]  # called in this thread whenever the wait turns out to be long

    def call(self, call: Callable[[], T]) -> T:
        """Return what ``call`` asks of a backend, giving that time to wake up."""
        return retry_while_waking(
            lambda: self._watched(call), timeout_s=self.timeout_s, on_wait=self.on_wait
        )

    def _watched(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, calling ``on_wait`` every now and then while it lasts.

        ``on_wait`` draws on the page, so it is also where Streamlit abandons this run for a newer
        one; the call is then left to end by itself.
        """
        pool = ThreadPoolExecutor(max_workers=1)
        try:
            future: Future[T] = pool.submit(call)
            while not wait([future], timeout=NOTICE_AFTER_S).done:
                self.on_wait()
            return future.result()
        finally:
            pool.shutdown(wait=False)


def predict(
    picture: Picture,
    backend: BackendClient,
    model: str | None,
    top_k: int | None = None,
    *,
    explain: bool = False,
) -> Answered:
    """Return the answer of a model, without it of the backend's own, or BackendError; try once."""
    started = time.perf_counter()
    answer = picture.classify(backend, model, top_k, explain=explain)
    return Answered(answer, (time.perf_counter() - started) * 1000)


def waiting_words(question: Question, backend: BackendClient, model: str | None) -> str:
    """Return why an answer is late, as far as the backend tells."""
    if not backend.is_ready(model):
        return WAKING
    return SLOW_HOST if isinstance(question, LinkedPicture) else BUSY


def explained(error: BackendError) -> Failure:
    """Return what to tell the person, and tell the log what happened."""
    log.warning("%s: %s", type(error).__name__, error)
    return failure(error)
