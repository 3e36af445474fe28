"""Where a model looked: one place after another is covered, and what that takes from the answer.

Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901) needs nothing but answers, so it
works with any engine and any model.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imgserve.errors import InvalidRequest
from imgserve.models.transform import Crop

GRIDS = (8, 4)  # places a side, the finest first
LIMIT_S = 4.0  # below the time after which a worker is not counted as ready


def limit_s(predict_timeout_s: float) -> float:
    """Return how long it may take, where a worker that takes so long for a picture is ended."""
    return min(LIMIT_S, predict_timeout_s / 3)


def occlusion(
    probability: Callable[[Crop], float],
    crops: Crop,
    *,
    inference_s: float,
    limit_s: float,
) -> list[list[float]]:
    """Return by how much each place matters, in rows from the top.

    Args:
        probability: returns that of the class in question.
        crops: what the model saw, (1, H, W, 3).
        inference_s: how long one inference takes.
        limit_s: how long all may take: the finest grid that fits is used.

    Returns:
        8 x 8 or 4 x 4 numbers: 1 for the place whose cover lowers the probability most, 0 for those
        whose cover does not lower it.

    Raises:
        InvalidRequest: not even 4 x 4 fit.
    """
    grid = next((side for side in GRIDS if side * side * inference_s <= limit_s), None)
    if grid is None:
        raise InvalidRequest(
            f"this model takes {inference_s:.1f} s for a picture, too long to say where it looked: "
            "ask without explain"
        )
    whole = probability(crops)
    colour = crops.mean(axis=(0, 1, 2)).astype(np.uint8)  # the picture's own: it adds no edge
    drops = np.array(
        [
            [whole - probability(_covered(crops, x, y, grid, colour)) for x in range(grid)]
            for y in range(grid)
        ]
    ).clip(min=0)
    shares = drops / (drops.max() or 1)
    return [[round(float(share), 3) for share in row] for row in shares]


def _covered(crops: Crop, x: int, y: int, grid: int, colour: NDArray[np.uint8]) -> Crop:
    """Return crops with a square of two cells a side covered, in the middle of which is the cell.

    Covers overlap: what lies across a border between cells is hidden whole by one of them.
    """
    covered = crops.copy()
    size = crops.shape[1] / grid
    top, left = round((y - 0.5) * size), round((x - 0.5) * size)
    bottom, right = top + round(2 * size), left + round(2 * size)
    covered[:, max(0, top) : bottom, max(0, left) : right] = colour
    return covered
