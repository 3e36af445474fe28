"""The pixels of a picture: as RGB on white, and where the data breaks off, in something neutral."""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from imgserve.errors import DamagedPicture, HttpError
from imgserve.pictures.decode_limits import ended_jpeg

# A band is as many rows as have so many pixels: what needs a copy needs one of a band only. Pillow
# uses four bytes per pixel for RGB as for RGBA. With a whole copy in RGBA, 49 megapixels took 561
# MiB at the peak; in bands they take 386.
BAND_PIXELS: Final = 2**20
# From 16 bits to 8, rounded. Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]

Box = tuple[int, int, int, int]  # left, top, right, bottom
COMPLETED: Final = {"JPEG", "PNG", "GIF", "BMP"}  # whose decoders show how far the data goes
# With half of the rows on grey, EfficientNet-Lite0 was right about 66 % of 250 photographs (of the
# whole ones, 83 %); with 40 % of the rows, about 48 %.
LEAST_SHARE: Final = 0.5
BLOCK: Final = 8  # the step in which interlaced GIF and PNG send a picture first
GREY: Final = 127

Known = NDArray[np.bool_]
Open = Callable[[bytes], ImageFile.ImageFile]  # from a file's content, only its header read


def bands(picture: Image.Image) -> Iterator[Box]:
    """Yield the box of each band, from the top."""
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        yield 0, top, picture.width, min(top + rows, picture.height)


def rgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB; an opaque RGB picture is returned as it is."""
    if picture.mode.startswith("I"):  # grey in 16 bits
        table = EIGHT_BITS.copy()
        if picture.has_transparency_data:
            table[picture.info.pop("transparency")] = 255  # exactly one value is transparent
        picture = picture.convert("I").point(table, "L")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    for box in bands(picture):
        band = picture.crop(box).convert("RGBA")
        white.paste(band, box, band)
    return white


def completed(
    name: str, data: bytes, opened: Open, frame: Box | None
) -> tuple[ImageFile.ImageFile, Image.Image]:
    """Return a picture of a format by its name as far as its data goes: as Pillow has it, and RGB.

    DamagedPicture where that is too little of the ``frame`` that the data is about, None for all.
    """
    if name == "JPEG":  # its decoder completes what an end mark follows, as in browsers
        data_with_end, has_first_scan = ended_jpeg(data)
        ended = opened(data_with_end)
        # With the first of several scans, all of the picture is there, only coarse.
        if not has_first_scan:
            _require_share(_known_pixels(opened, data)[1], name)
        ended.load()
        return ended, rgb(ended)
    source, known = _known_pixels(opened, data)
    left, top, right, bottom = frame or (0, 0, *source.size)
    _require_share(known[top:bottom, left:right], name)
    picture = rgb(source)
    _fill(picture, known)
    return source, picture


def _require_share(known: Known, name: str) -> None:
    """Refuse a picture with too little of it there; of an interlaced one, at least coarse."""
    if known[::BLOCK, ::BLOCK].mean() < LEAST_SHARE:
        raise DamagedPicture(
            f"Too little of this {name} picture is there: save the picture again, or use another."
        )


def _known_pixels(opened: Open, data: bytes) -> tuple[ImageFile.ImageFile, Known]:
    """Return a picture decoded as far as its data goes, and which pixels (height, width) that gave.

    It is decoded on a dark and on a light ground: what is the same both times was in the data.
    """
    dark, light = _on_ground(opened(data), 0), _on_ground(opened(data), 255)
    known = np.empty(light.size[::-1], np.bool_)
    for box in bands(light):  # whole pictures in arrays take too much memory
        same = np.asarray(dark.crop(box)) == np.asarray(light.crop(box))
        known[box[1] : box[3]] = reduce(np.logical_and, np.moveaxis(np.atleast_3d(same), -1, 0))
    return light, known


def _on_ground(picture: ImageFile.ImageFile, ground: int) -> ImageFile.ImageFile:
    prepare = picture.load_prepare

    def prepare_ground() -> None:
        prepare()
        count = len(picture.getbands())
        colour = ground if count == 1 else (ground,) * count
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


def _fill(picture: Image.Image, known: Known) -> None:
    """Give each missing pixel the value of the one on its left or above, else grey."""
    columns = np.arange(picture.width)
    last, row = -BLOCK, None
    for y, here in enumerate(known):
        if here.all():
            last, row = y, None
            continue
        if here[0]:
            row = _row(picture, y)[np.maximum.accumulate(np.where(here, columns, 0))]
            last = y
        elif y - last >= BLOCK:
            row = np.full((picture.width, 3), GREY, np.uint8)
        elif row is None:
            row = _row(picture, last)
        picture.paste(Image.fromarray(row[np.newaxis]), (0, y))


def _row(picture: Image.Image, y: int) -> NDArray[np.uint8]:
    row: NDArray[np.uint8] = np.asarray(picture.crop((0, y, picture.width, y + 1)))[0]
    return row
