"""Pictures whose data breaks off: what of them is there, and something neutral for the rest."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from imgserve.errors import HttpError

BLOCK: Final = 8  # the step in which interlaced GIF and PNG send a picture first
GREY: Final = 127

Known = NDArray[np.bool_]


def known_pixels(opened: Callable[[], ImageFile.ImageFile]) -> tuple[ImageFile.ImageFile, Known]:
    """Return a picture decoded as far as its data goes, and which pixels that gave.

    It is decoded on a dark and on a light ground: what is the same both times was in the data.

    Args:
        opened: returns the picture with only its header read.

    Returns:
        The picture, and (height, width) of its first frame, all within it.
    """
    dark, light = _on_ground(opened(), 0), _on_ground(opened(), 255)
    same = np.asarray(dark) == np.asarray(light)
    return light, same if same.ndim == 2 else same.all(axis=-1)  # noqa: PLR2004  one channel


def _on_ground(picture: ImageFile.ImageFile, ground: int) -> ImageFile.ImageFile:
    prepare = picture.load_prepare

    def prepare_ground() -> None:
        prepare()
        bands = len(picture.getbands())
        colour = ground if bands == 1 else (ground,) * bands
        picture.im.paste(colour, (0, 0, *picture.im.size))

    picture.load_prepare = prepare_ground  # type: ignore[method-assign]
    try:
        picture.load()
    except (HttpError, MemoryError):
        raise
    except Exception:  # noqa: BLE001, S110 - the data breaks off, which is known
        pass
    picture.tile = []
    return picture


def share(known: Known) -> float:
    """Return how much of a picture is there, from 0 to 1; of an interlaced one, at least coarse."""
    return float(known[::BLOCK, ::BLOCK].mean())


def fill(picture: Image.Image, known: Known) -> None:
    """Give each missing pixel the value of the one on its left or above, else grey.

    Args:
        picture: RGB.
        known: (height, width), whether a pixel was in the data.
    """
    columns = np.arange(picture.width)
    row, last = np.empty(0), -BLOCK
    for y, here in enumerate(known):
        if here[0]:
            row = np.asarray(picture.crop((0, y, picture.width, y + 1)))[0]
            row, last = row[np.maximum.accumulate(np.where(here, columns, 0))], y
        elif y - last >= BLOCK:
            row = np.full((picture.width, 3), GREY, np.uint8)
        if not here.all():
            picture.paste(Image.fromarray(row[np.newaxis]), (0, y))
