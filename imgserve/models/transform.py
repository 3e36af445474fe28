"""The first half of a model's transform: resize and crop, with Pillow alone.

torchvision resizes the whole picture with Pillow, then cuts the middle out. Here only what is kept
is computed, in the same order (columns, then rows) and with the same rounding: where halves are
rounded the other way, a pixel differs by 2 of 255 at most. The second half, normalising, is part of
the compiled graph.
"""

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.models.compiled_model import Transform

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SUPPORT = 2  # how far the wider of these filters, bicubic, reaches: pixels of the coarser picture

# A picture of 2 x 2 times the size or more is first brought near, by averaging squares of whole
# pixels; a JPEG by decoding it at a half, a quarter or an eighth, which costs a fraction. From
# three times the size on, Pillow's documentation finds the result hard to tell from the direct one
# (Image.resize, reducing_gap). From twice on, EfficientNet-Lite0 knew 87.2 % of 500 photographs
# enlarged to 1.7 megapixels (directly 87.8) and 89.6 % of 250 at 12 (the same) in half the time.
NEAR = 2

Crop = NDArray[np.uint8]


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
