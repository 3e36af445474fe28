"""From a request to an answer: fetch, decode, classify, within the gate."""

import base64
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter

import numpy as np
from PIL import Image

from imgserve.contract import PredictAnswer, Prediction, Timings
from imgserve.engine.classifier import Classification, Classifier
from imgserve.engine.transform import Crop, least_side
from imgserve.images.decode import decode
from imgserve.images.fetch import Fetcher
from imgserve.service.asked import Asked
from imgserve.service.gate import Gate
from imgserve.settings import BackendSettings

# Holds the model to use, after waiting at most so many seconds for it; raises NotReady.
Using = Callable[[float], AbstractContextManager[Classifier]]

THUMBNAIL_QUALITY = 85


class Predictor:
    """Answers predictions; shared by all threads of a backend."""

    def __init__(self, settings: BackendSettings) -> None:
        self.gate = Gate(slots=settings.threads, max_queue=settings.max_queue)
        self._fetcher = Fetcher(
            limit_bytes=settings.max_image_bytes,
            timeout_s=settings.fetch_timeout_s,
            allowed_addresses=settings.allowed_addresses,
        )
        self._limit_pixels = settings.max_image_pixels
        self._load_wait_s = settings.load_wait_s

    def predict(self, asked: Asked, using: Using) -> PredictAnswer:
        """Return the answer to one request, which the gate has admitted.

        Raises:
            HttpError: of any kind but the routes' own.
        """
        started = perf_counter()
        data = asked.data if asked.url is None else self._fetcher.fetch(asked.url)
        fetch_ms = 0.0 if asked.url is None else _ms_since(started)
        with using(self._load_wait_s) as classifier, self.gate.slot():
            decoding = perf_counter()
            picture = decode(
                data or b"",
                limit_pixels=self._limit_pixels,
                least_side=least_side(classifier.transform),
            )
            decode_ms = _ms_since(decoding)
            made = classifier(picture)
        timings = Timings(
            fetch=fetch_ms,
            decode=decode_ms,
            preprocess=round(made.preprocess_ms, 3),
            inference=round(made.inference_ms, 3),
            total=_ms_since(started),
        )
        return _answer(made, timings, asked)


def _ms_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)


def _answer(made: Classification, timings: Timings, asked: Asked) -> PredictAnswer:
    predictions = most_probable(made, asked.options.top_k)
    return PredictAnswer(
        category=predictions[0].category,
        model=made.model,
        predictions=predictions,
        timings_ms=timings,
        thumbnail=thumbnail(made.crop) if asked.options.thumbnail else None,
    )


def most_probable(made: Classification, count: int) -> list[Prediction]:
    """Return the most probable classes, most probable first; of equals the lower id first."""
    order = np.argsort(-made.probabilities, kind="stable")[:count]
    return [
        Prediction(made.categories[index], int(index), round(float(made.probabilities[index]), 6))
        for index in order
    ]


def thumbnail(crop: Crop) -> str:
    """Return a JPEG data URI of an (H, W, 3) uint8 crop."""
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
