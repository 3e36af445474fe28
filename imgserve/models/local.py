"""A model in this process: a stranger's picture in, an answer's parts out."""

import base64
import io
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from PIL import Image

from imgserve.contract import Prediction, PredictOptions
from imgserve.models.classifier import Classification, Classifier
from imgserve.models.loading import load
from imgserve.models.model import Computed, Model
from imgserve.models.transform import Crop, least_side
from imgserve.pictures.decode import decode
from imgserve.settings import BackendSettings

THUMBNAIL_QUALITY = 85


@dataclass(frozen=True)
class LocalModel:
    """A model in this process."""

    classifier: Classifier
    limit_pixels: int

    @property
    def model(self) -> str:
        """Return the model's id."""
        return self.classifier.model

    def check(self) -> None:
        """Do nothing: it can compute."""

    def compute(self, data: bytes, options: PredictOptions) -> Computed:
        """Return what is on a picture; errors as ``decode``."""
        started = perf_counter()
        near = least_side(self.classifier.transform)
        picture = decode(data, limit_pixels=self.limit_pixels, least_side=near)
        decode_ms = (perf_counter() - started) * 1000
        made = self.classifier(picture)
        return Computed(
            most_probable(made, options.top_k),
            decode_ms=round(decode_ms, 3),
            preprocess_ms=round(made.preprocess_ms, 3),
            inference_ms=round(made.inference_ms, 3),
            thumbnail=thumbnail(made.crop) if options.thumbnail else None,
        )


def load_here(settings: BackendSettings, model_id: str) -> Model:
    """Return a model in this process, warm; errors as ``engine.loading.load``."""
    return LocalModel(load(settings, model_id), settings.max_image_pixels)


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
