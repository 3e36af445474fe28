"""The first half of a model's transform: resize and crop, with Pillow alone.

torchvision resizes the whole picture with Pillow, then cuts the middle out; so do we, with its
rounding, and the pixels are the same. The second half, normalising, is part of the compiled graph.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgserve.engine.artefact import Transform

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# A strip of 1 by 20,000 pixels would be resized to 256 by 5 million, to keep 224 of them. From
# this ratio of sides on, only the part that is kept is computed. Pillow may then filter rows and
# columns in another order, and a pixel differs from torchvision's by 2 of 255 at most.
LONG = 100

Crop = NDArray[np.uint8]


def crop(picture: Image.Image, transform: Transform) -> Crop:
    """Return the part of the picture that the model sees.

    Args:
        picture: RGB, any size.
        transform: the model's.

    Returns:
        (1, crop_size, crop_size, 3) uint8, red first.
    """
    resized, margins = _layout(picture.size, transform)
    if max(picture.size) < LONG * min(picture.size):
        kept = _resize_then_crop(picture, transform, resized, margins)
    else:
        kept = _resize_kept_part(picture, transform, resized, margins)
    return np.asarray(kept)[np.newaxis]


def _layout(size: tuple[int, int], transform: Transform) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the resized width and height, and the left and top margins, in pixels.

    Rounding is torchvision's: the longer side is cut to whole pixels (``int``), the margins are
    rounded to even (``_compute_resized_output_size`` and ``center_crop`` in
    torchvision/transforms/functional.py).
    """
    shorter = min(size)
    width, height = (int(transform.resize_size * side / shorter) for side in size)
    left, top = (round((side - transform.crop_size) / 2.0) for side in (width, height))
    return (width, height), (left, top)


def _resize_then_crop(
    picture: Image.Image, transform: Transform, resized: tuple[int, int], margins: tuple[int, int]
) -> Image.Image:
    whole = picture.resize(resized, FILTERS[transform.interpolation])
    left, top = margins
    return whole.crop((left, top, left + transform.crop_size, top + transform.crop_size))


def _resize_kept_part(
    picture: Image.Image, transform: Transform, resized: tuple[int, int], margins: tuple[int, int]
) -> Image.Image:
    (width, height), size = picture.size, transform.crop_size
    scale_x, scale_y = width / resized[0], height / resized[1]
    left, top = margins[0] * scale_x, margins[1] * scale_y
    right, bottom = min(width, left + size * scale_x), min(height, top + size * scale_y)
    box = (left, top, right, bottom)
    return picture.resize((size, size), FILTERS[transform.interpolation], box=box)
