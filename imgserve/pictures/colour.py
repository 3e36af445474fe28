"""Pictures in RGB: 8 bits a colour, on white where they are transparent."""

from collections.abc import Iterator
from typing import Final

from PIL import Image

# A band is as many rows as have so many pixels: what needs a copy needs one of a band only. Pillow
# uses four bytes per pixel for RGB as for RGBA. With a whole copy in RGBA, 49 megapixels took 561
# MiB at the peak; in bands they take 386.
BAND_PIXELS: Final = 2**20
# From 16 bits to 8, rounded. Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]

Box = tuple[int, int, int, int]  # left, top, right, bottom


def bands(picture: Image.Image) -> Iterator[Box]:
    """Yield the box of each band, from the top."""
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        yield 0, top, picture.width, min(top + rows, picture.height)


def rgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB; an opaque RGB picture is returned as it is."""
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    for box in bands(picture):
        band = picture.crop(box).convert("RGBA")
        white.paste(band, box, band)
    return white


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a 16-bit grey picture in 8 bits, white where it is transparent."""
    table = EIGHT_BITS.copy()
    if picture.has_transparency_data:
        table[picture.info.pop("transparency")] = 255  # exactly one value is transparent
    return picture.convert("I").point(table, "L")


def alone_on_white(picture: Image.Image, box: Box) -> Image.Image:
    """Return a part of an RGB picture in its place, with white around it."""
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture.crop(box), box)
    return white
