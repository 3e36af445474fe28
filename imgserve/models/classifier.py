"""One loaded model: a picture in, the classes on it out, and where the model looked.

For that one place after another is covered, and what that takes from the answer is what the place
matters. Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901) needs nothing but
answers, so it works with any engine and any model.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import Busy, InvalidRequest
from imgserve.models.compiled_model import Transform
from imgserve.models.transform import Crop, crop, least_side
from imgserve.models.worker import Result
from imgserve.pictures.decode import decode

DEFAULT_TOP_K = 5

GRIDS = (8, 4)  # places a side, the finest first
# Of a cover, in cells: neighbours overlap, so that what lies across a border is hidden too. Of 100
# photographs, blurring the 4 places marked most left 54 % of EfficientNet-Lite0's probability; with
# 2 cells 60 %, with the training mean's colour 56 %, of places by chance 90 % (2026-11-27).
COVER = 1.5
LIMIT_S = 4.0  # below the time after which a worker is not counted as ready

Probabilities = NDArray[np.float32]
# Computes (N, C) probabilities, each row summing to 1, of (N, H, W, 3) crops; from several threads.
Engine = Callable[[Crop], Probabilities]


@dataclass(frozen=True)
class Classifier:
    categories: Sequence[str]
    transform: Transform
    engine: Engine
    precision: str = "fp32"  # what the engine computes in

    def warm_up(self) -> None:
        """Answer once: the first inference prepares what all later ones use, and is slower."""
        self.engine(crop(Image.new("RGB", (self.transform.crop_size,) * 2), self.transform))

    def classify(
        self, data: bytes, options: PredictOptions, *, limit_pixels: int, explain_s: float = LIMIT_S
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
    Image.fromarray(picture).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def occlusion(
    engine: Engine, crops: Crop, probabilities: Probabilities, *, inference_s: float, limit_s: float
) -> list[list[float]]:
    """Return by how much each place matters to the most probable class, in rows from the top.

    8 x 8 or 4 x 4 numbers: 1 for the place whose cover lowers the probability most, 0 for those
    whose cover does not lower it. ``probabilities``, (C,), is what the model made of ``crops``,
    (1, H, W, 3). All should take ``limit_s``: the finest grid that fits is used. InvalidRequest
    where not even 4 x 4 fit, Busy where other pictures beside it make it take twice as long.
    """
    grid = next((side for side in GRIDS if side * side * inference_s <= limit_s), None)
    if grid is None:
        raise InvalidRequest(
            f"this model took {inference_s:.1f} s for the picture, too long to say where it "
            "looked: ask without explain, or again when there is less to do"
        )
    end_s = perf_counter() + 2 * limit_s
    first = probabilities.argmax()
    colour = crops.mean(axis=(0, 1, 2)).astype(np.uint8)  # the picture's own: it adds no edge
    drops = np.zeros((grid, grid))
    for y, x in np.ndindex(grid, grid):
        if perf_counter() > end_s:
            raise Busy("where the model looked takes too long now: ask again, or without explain")
        covered = engine(_covered(crops, x, y, grid, colour))[0]
        drops[y, x] = max(0, probabilities[first] - covered[first])
    shares: list[list[float]] = (drops / (drops.max() or 1)).round(3).tolist()
    return shares


def _covered(crops: Crop, x: int, y: int, grid: int, colour: NDArray[np.uint8]) -> Crop:
    """Return crops with a square around a cell covered."""
    covered = crops.copy()
    cell = crops.shape[1] / grid
    top, left = (round((place + 0.5 - COVER / 2) * cell) for place in (y, x))
    side = round(COVER * cell)
    covered[:, max(0, top) : top + side, max(0, left) : left + side] = colour
    return covered
