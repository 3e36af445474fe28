"""Where a model looked: one place after another is covered, and what that takes from the answer.

Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901) needs nothing but answers, so it
works with any engine and any model.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from imgserve.errors import Busy, InvalidRequest
from imgserve.models.transform import Crop

GRIDS = (8, 4)  # places a side, the finest first
# Of a cover, in cells: neighbours overlap, so that what lies across a border is hidden too. Of 100
# photographs, blurring the 4 places marked most left 54 % of EfficientNet-Lite0's probability; with
# 2 cells 60 %, with the training mean's colour 56 %, of places by chance 90 % (2026-11-27).
COVER = 1.5
LIMIT_S = 4.0  # below the time after which a worker is not counted as ready


def occlusion(
    engine: Callable[[Crop], NDArray[np.float32]],
    crops: Crop,
    probabilities: NDArray[np.float32],
    *,
    inference_s: float,
    limit_s: float,
) -> list[list[float]]:
    """Return by how much each place matters, in rows from the top.

    Args:
        engine: the model's.
        crops: what the model saw, (1, H, W, 3).
        probabilities: what it made of that, (C,); the most probable class is in question.
        inference_s: how long one inference takes.
        limit_s: how long all should take: the finest grid that fits is used.

    Returns:
        8 x 8 or 4 x 4 numbers: 1 for the place whose cover lowers the probability most, 0 for those
        whose cover does not lower it.

    Raises:
        InvalidRequest: not even 4 x 4 fit.
        Busy: it takes twice as long as it should, since other pictures are computed beside it.
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
