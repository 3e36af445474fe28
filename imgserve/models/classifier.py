"""One loaded model: a picture in, the classes on it out."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.contract import Prediction, PredictOptions
from imgserve.models.compiled_model import Transform
from imgserve.models.occlusion import LIMIT_S, occlusion
from imgserve.models.transform import Crop, crop, least_side
from imgserve.models.worker import Result
from imgserve.pictures.decode import decode

THUMBNAIL_QUALITY = 85
DEFAULT_TOP_K = 5

Probabilities = NDArray[np.float32]
# Computes (N, C) probabilities, each row summing to 1, of (N, H, W, 3) crops; from several threads.
Engine = Callable[[Crop], Probabilities]


@dataclass(frozen=True)
class Classifier:
    """A model with its engine, its transform and the names of its classes."""

    categories: Sequence[str]
    transform: Transform
    engine: Engine
    precision: str = "fp32"  # what the engine computes in

    def warm_up(self) -> None:
        """Answer once: the first inference prepares what all later ones use, and is slower."""
        self.probabilities(Image.new("RGB", (self.transform.crop_size,) * 2))

    def probabilities(self, picture: Image.Image) -> Probabilities:
        """Return (C,) probabilities of an RGB picture of any size, in the order of categories."""
        row: Probabilities = self.engine(crop(picture, self.transform))[0]
        return row

    def classify(
        self,
        data: bytes,
        options: PredictOptions,
        *,
        limit_pixels: int,
        explain_s: float = LIMIT_S,
    ) -> Result:
        """Return what is on a picture's file; errors as ``decode`` and ``occlusion``."""
        began = perf_counter()
        picture, incomplete = decode(
            data, limit_pixels=limit_pixels, least_side=least_side(self.transform)
        )
        decoded = perf_counter()
        crops = crop(picture, self.transform)
        cropped = perf_counter()
        probabilities = self.engine(crops)[0]
        inferred = perf_counter()
        explanation = None
        if options.explain:
            explanation = occlusion(
                self.engine, crops, probabilities, inference_s=inferred - cropped, limit_s=explain_s
            )
        return Result(
            self._most_probable(probabilities, options.top_k or DEFAULT_TOP_K),
            decode_ms=_ms(decoded - began),
            preprocess_ms=_ms(cropped - decoded),
            inference_ms=_ms(inferred - cropped),
            thumbnail=_thumbnail(crops[0]) if options.thumbnail else None,
            incomplete=incomplete,
            precision=self.precision,
            explanation=explanation,
        )

    def _most_probable(self, probabilities: Probabilities, count: int) -> list[Prediction]:
        """Return the most probable classes first; of equals, the lower id first."""
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [
            Prediction(self.categories[index], int(index), round(float(probabilities[index]), 6))
            for index in order
        ]


def _thumbnail(picture: Crop) -> str:
    """Return a JPEG data URI of an (H, W, 3) uint8 picture."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
