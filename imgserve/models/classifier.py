"""One loaded model: a picture in, the classes on it out, and where the model looked.

For that one place after another is covered, and what that takes from the answer is what the place
matters. Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901) needs nothing but
answers, so it works with any engine and any model.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import Busy, InvalidRequest
from imgserve.models.compiled_model import Transform
from imgserve.models.worker import Result
from imgserve.pictures.decode import decode

DEFAULT_TOP_K = 5

GRIDS = (8, 4)  # places a side, the finest first
# Of a cover, in cells: neighbours overlap, so that what lies across a border is hidden too. Of 100
# photographs, blurring the 4 places marked most left 54 % of EfficientNet-Lite0's probability; with
# 2 cells 60 %, with the training mean's colour 56 %, of places by chance 90 % (2026-11-27).
COVER = 1.5
LIMIT_S = 4.0  # below the time after which a worker is not counted as ready

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SUPPORT = 2  # how far the wider of these filters, bicubic, reaches: pixels of the coarser picture

# A picture of 2 x 2 times the size or more is first brought near, by averaging squares of whole
# pixels; a JPEG by decoding it at a half, a quarter or an eighth, which costs a fraction. From
# three times the size on, Pillow's documentation finds the result hard to tell from the direct one
# (Image.resize, reducing_gap). From twice on, EfficientNet-Lite0 knew 87.2 % of 500 photographs
# enlarged to 1.7 megapixels (directly 87.8) and 89.6 % of 250 at 12 (the same) in half the time.
NEAR = 2

Crop = NDArray[np.uint8]
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


# torchvision resizes the whole picture with Pillow, then cuts the middle out. Here only what is
# kept is computed, in the same order (columns, then rows) and with the same rounding: where halves
# are rounded the other way, a pixel differs by 2 of 255 at most. The second half, normalising, is
# part of the compiled graph.


def least_side(transform: Transform) -> int:
    """Return how many pixels the shorter side of a large picture must keep for this transform."""
    return NEAR * transform.resize_size


def crop(picture: Image.Image, transform: Transform) -> Crop:
    """Return the part of an RGB picture that the model sees, (1, crop_size, crop_size, 3)."""
    factor = max(1, min(picture.size) // least_side(transform))
    size, resample = transform.crop_size, FILTERS[transform.interpolation]
    (left, right), (top, bottom) = _kept(picture.size, transform, factor)
    near = picture.reduce(factor) if factor > 1 else picture

    reach = ceil(SUPPORT * max(1.0, (bottom - top) / size)) + 1
    first, last = max(0, floor(top) - reach), min(near.height, ceil(bottom) + reach)
    band = near.crop((0, first, near.width, last))
    columns = band.resize((size, band.height), resample, box=(left, 0, right, band.height))
    kept = columns.resize((size, size), resample, box=(0, top - first, size, bottom - first))
    return np.asarray(kept)[np.newaxis]


def _kept(
    sides: tuple[int, int], transform: Transform, factor: int
) -> tuple[tuple[float, float], ...]:
    """Return where what is kept of width and height begins and ends, in pixels reduced by a factor.

    Rounding is torchvision's: the longer side is cut to whole pixels (``int``), the margins are
    rounded to even (``_compute_resized_output_size`` and ``center_crop`` in
    torchvision/transforms/functional.py).
    """
    kept = []
    for side in sides:
        resized = int(transform.resize_size * side / min(sides))
        margin = round((resized - transform.crop_size) / 2.0)
        scale = side / resized
        end = min(side, (margin + transform.crop_size) * scale)
        kept.append((margin * scale / factor, end / factor))
    return tuple(kept)
