"""From a request to an answer: fetch, then compute, within the gate."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter

from imgserve.backend.admission import Gate
from imgserve.backend.request import Asked
from imgserve.contract import PredictAnswer, Timings
from imgserve.models.model import Computed, Model
from imgserve.pictures.fetch import Fetcher
from imgserve.settings import BackendSettings

# Holds the model to use, after waiting at most so many seconds for it; raises NotReady.
Using = Callable[[float], AbstractContextManager[Model]]


class Predictor:
    """Answers predictions; shared by all threads of a backend."""

    def __init__(self, settings: BackendSettings) -> None:
        self.gate = Gate(slots=settings.threads, max_queue=settings.max_queue)
        self._fetcher = Fetcher(
            limit_bytes=settings.max_image_bytes,
            timeout_s=settings.fetch_timeout_s,
            allowed_addresses=settings.allowed_addresses,
        )
        self._load_wait_s = settings.load_wait_s

    def predict(self, asked: Asked, using: Using) -> PredictAnswer:
        """Return the answer to one request, which the gate has admitted.

        Raises:
            HttpError: of any kind but the routes' own.
        """
        started = perf_counter()
        data = asked.data if asked.url is None else self._fetcher.fetch(asked.url)
        fetch_ms = 0.0 if asked.url is None else _ms_since(started)
        with using(self._load_wait_s) as model, self.gate.slot():
            computed = model.compute(data or b"", asked.options)
        timings = Timings(
            fetch=fetch_ms,
            decode=computed.decode_ms,
            preprocess=computed.preprocess_ms,
            inference=computed.inference_ms,
            total=_ms_since(started),
        )
        return _answer(model.model, computed, timings)


def _ms_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)


def _answer(model: str, computed: Computed, timings: Timings) -> PredictAnswer:
    return PredictAnswer(
        category=computed.predictions[0].category,
        model=model,
        predictions=computed.predictions,
        timings_ms=timings,
        thumbnail=computed.thumbnail,
    )
