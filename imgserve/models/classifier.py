"""One loaded model: picture in, probabilities out."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.models.compiled_model import Transform
from imgserve.models.transform import Crop, crop

Probabilities = NDArray[np.float32]


class Engine(Protocol):
    """Computes probabilities; safe to call from several threads."""

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (N, C) probabilities of (N, H, W, 3) uint8 crops, each row summing to 1."""
        ...


@dataclass(frozen=True)
class Classification:
    """What a model makes of one picture.

    Attributes:
        model: the model's id.
        categories: C names, in the order of the probabilities.
        probabilities: (C,) float32, summing to 1.
        crop: (H, W, 3) uint8, the picture as the model saw it.
        preprocess_ms: time to resize and crop.
        inference_ms: time of the model.
    """

    model: str
    categories: Sequence[str]
    probabilities: Probabilities
    crop: Crop
    preprocess_ms: float
    inference_ms: float


@dataclass(frozen=True)
class Classifier:
    """A model with its engine, its transform and the names of its classes."""

    model: str
    categories: Sequence[str]
    transform: Transform
    engine: Engine

    def warm_up(self) -> None:
        """Answer once: the first inference prepares what all later ones use, and is slower."""
        self(Image.new("RGB", (self.transform.crop_size,) * 2))

    def __call__(self, picture: Image.Image) -> Classification:
        """Return what the model makes of an RGB picture of any size."""
        started = perf_counter()
        crops = crop(picture, self.transform)
        cropped = perf_counter()
        probabilities = self.engine(crops)[0]
        inferred = perf_counter()
        return Classification(
            self.model,
            self.categories,
            probabilities,
            crops[0],
            preprocess_ms=(cropped - started) * 1000,
            inference_ms=(inferred - cropped) * 1000,
        )
