"""A picture in bands of rows: what needs a copy needs one of a band only."""

from collections.abc import Iterator
from typing import Final

from PIL import Image

BAND_PIXELS: Final = 2**20


def bands(picture: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Yield the box of each band, from the top: left, top, right, bottom."""
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        yield 0, top, picture.width, min(top + rows, picture.height)
