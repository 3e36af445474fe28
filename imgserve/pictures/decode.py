"""Decode a stranger's picture: 8-bit RGB, upright, on white where it is transparent."""

import struct
from functools import partial
from typing import Final, NamedTuple

from PIL import Image, ImageFile

from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures.bands import bands
from imgserve.pictures.decode_limits import (
    LIMIT_EXIF_BYTES,
    LIMIT_READS,
    ReadLimitedFile,
    check_jpeg,
    check_scanned,
    check_tiff,
    essential_png,
    has_first_scan,
    whole_segments,
)
from imgserve.pictures.formats import format_of
from imgserve.pictures.incomplete import Known, Open, fill, known_pixels, share
from imgserve.units import megapixels

ANOTHER: Final = "save the picture again, or use another."

ORIENTATION: Final = 0x0112  # EXIF 2.32, 4.6.4
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# JPEG (ITU-T T.81, B.2.2) and GIF allow no more; WebP allows 16383. Pillow keeps 8 bytes per row:
# 49 megapixels in a single column took 1682 MiB, in a square 386 MiB at most.
LIMIT_SIDE_PIXELS: Final = 65535
# Pillow unpacks run lengths in Python: so many pixels in so many pieces take up to a second each.
LIMIT_RLE_PIXELS: Final = 4_000_000
LIMIT_RLE_READS: Final = 1_000_000
# How a TIFF may be compressed (TIFF 6.0; Adobe Photoshop TIFF Technical Notes). The rest of what
# libtiff knows is old or rare, and more to attack.
TIFF_COMPRESSIONS: Final = {
    "raw", "tiff_ccitt", "group3", "group4", "tiff_lzw", "packbits", "tiff_adobe_deflate",
    "tiff_deflate", "jpeg",
}  # fmt: skip
TIFF_MODES: Final = {
    "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B",
}  # fmt: skip
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags (TIFF 6.0, section 15)
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # (section 8)
TILE_SIDE_PIXELS: Final = 1024

# Formats whose decoders show how far the data goes.
COMPLETED: Final = {"JPEG", "PNG", "GIF", "BMP"}
END_OF_IMAGE: Final = b"\xff\xd9"
# With half of the rows on grey, EfficientNet-Lite0 was right about 66 % of 250 photographs (of the
# whole ones, 83 %); with 40 % of the rows, about 48 %.
LEAST_SHARE: Final = 0.5

# From 16 bits to 8, rounded. Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]


class Decoded(NamedTuple):
    """A picture in RGB, and whether its file lacks its end."""

    picture: Image.Image
    incomplete: bool


def decode(data: bytes, *, limit_pixels: int, least_side: int | None = None) -> Decoded:
    """Return the picture as RGB, upright, on white where it is transparent.

    An animation gives its first frame. Colour profiles (ICC, gAMA) are ignored, as they were when
    the models were trained. What is missing at the end is grey.

    Args:
        data: the file's content.
        limit_pixels: the most pixels accepted, width times height.
        least_side: pixels that the shorter side must keep. A JPEG with at least twice as many is
            decoded at a half, a quarter or an eighth of its size. None decodes at full size.

    Raises:
        UnsupportedFormat: the data is in none of the accepted formats, whatever its name says, or
            in an unusual form of one.
        TooManyPixels: the header announces more than ``limit_pixels``, or a longer side than a
            JPEG can have. Nothing was decoded.
        DamagedPicture: the format is accepted, but the data is broken, or too little of it is
            there.
    """
    name = format_of(data)
    try:
        opened = partial(_opened, name, limit_pixels=limit_pixels, least_side=least_side)
        return _decoded(name, data, opened)
    except (HttpError, MemoryError):
        raise
    except Image.DecompressionBombError as exc:  # Pillow's own limit is above ours
        raise TooManyPixels(
            f"The picture has more than {megapixels(limit_pixels)}: use a smaller one."
        ) from exc
    except Exception as exc:  # on broken data, Pillow's plugins raise all kinds of errors
        raise DamagedPicture(f"The {name} data is damaged or incomplete: {ANOTHER}") from exc


def _decoded(name: str, data: bytes, opened: Open) -> Decoded:
    source = opened(data)
    # The first frame of a GIF or an animated PNG may be smaller than the picture.
    frame = source.tile[0].extents if name == "GIF" else source.info.get("bbox")
    is_whole = _loads(source, name)
    if is_whole:
        picture = rgb(source)
    else:
        del source  # completing the picture needs the memory
        source, picture = _incomplete(name, data, opened, frame)
    turn = UPRIGHT.get(_orientation(source))
    del source  # turning the picture needs the memory
    if frame and frame != (0, 0, *picture.size):
        picture = _alone_on_white(picture, frame)
    return Decoded(picture if turn is None else picture.transpose(turn), not is_whole)


def _opened(
    name: str, data: bytes, limit_pixels: int, least_side: int | None
) -> ImageFile.ImageFile:
    """Return the picture with only its header read.

    ``Image.open`` is not used: its pixel limit is one variable for the whole process.
    """
    scans = 0
    match name:
        case "JPEG":
            scans = check_jpeg(data)
        case "PNG":
            data = essential_png(data)
        case "TIFF":
            check_tiff(data)
    factory, _ = Image.OPEN[name.upper()]
    reads = LIMIT_RLE_READS if name == "BMP" else LIMIT_READS
    opened: ImageFile.ImageFile = factory(ReadLimitedFile(data, name, reads), "")
    _check_size(opened, limit_pixels)
    check_scanned(scans, opened.width * opened.height)
    if any(tile.codec_name in Image.DECODERS for tile in opened.tile):  # the ones in Python
        _check_pixels(opened, LIMIT_RLE_PIXELS)
    if name == "TIFF":
        _check_usual_tiff(opened)
    if name == "PNG" and getattr(opened, "default_image", False):
        opened.seek(1)  # the picture before is for programs that show no animation
    if least_side is not None:
        opened.draft(opened.mode, (least_side, least_side))
    return opened


def _loads(source: ImageFile.ImageFile, name: str) -> bool:
    """Decode the picture; return False where its data breaks off and may be completed."""
    try:
        source.load()
    except (OSError, SyntaxError, ValueError, struct.error):
        if name in COMPLETED:
            return False
        raise
    return True


def _incomplete(
    name: str, data: bytes, opened: Open, frame: tuple[int, int, int, int] | None
) -> tuple[ImageFile.ImageFile, Image.Image]:
    """Return the picture as far as its data goes: as Pillow has it, and in RGB.

    Args:
        name: of the format.
        data: the file's content.
        opened: returns the picture.
        frame: the part of it that the data is about; None for all.

    Raises:
        DamagedPicture: that is too little of it.
    """
    if name == "JPEG":  # its decoder completes what an end mark follows, as in browsers
        ended = opened(whole_segments(data) + END_OF_IMAGE)
        # With the first of several scans, all of the picture is there, only coarse.
        if not has_first_scan(data):
            _require_share(known_pixels(opened, data)[1], name)
        ended.load()
        return ended, rgb(ended)
    source, known = known_pixels(opened, data)
    left, top, right, bottom = frame or (0, 0, *source.size)
    _require_share(known[top:bottom, left:right], name)
    picture = rgb(source)
    fill(picture, known)
    return source, picture


def _require_share(known: Known, name: str) -> None:
    if share(known) < LEAST_SHARE:
        raise DamagedPicture(f"Too little of this {name} picture is there: {ANOTHER}")


def _alone_on_white(picture: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture.crop(frame), frame)
    return white


def _check_size(opened: ImageFile.ImageFile, limit_pixels: int) -> None:
    _check_pixels(opened, limit_pixels)
    if max(opened.size) > LIMIT_SIDE_PIXELS:
        raise TooManyPixels(
            f"The picture is {opened.width} x {opened.height} pixels; at most "
            f"{LIMIT_SIDE_PIXELS} are accepted on a side: use a smaller one."
        )


def _check_pixels(opened: ImageFile.ImageFile, limit_pixels: int) -> None:
    if opened.width * opened.height > limit_pixels:
        raise TooManyPixels(
            f"The picture has {megapixels(opened.width * opened.height)} "
            f"({opened.width} x {opened.height}); at most {megapixels(limit_pixels)} are accepted: "
            "use a smaller one."
        )


def _check_usual_tiff(opened: ImageFile.ImageFile) -> None:
    """Refuse what only libtiff knows, what is no colour, and tiles larger than the picture."""
    compression = opened.info["compression"]
    if compression not in TIFF_COMPRESSIONS:
        raise UnsupportedFormat(
            f"This TIFF picture is compressed in an unusual way ({compression}): "
            "save it as PNG or JPEG."
        )
    tags = opened.tag_v2  # type: ignore[attr-defined]
    # Pillow takes 12 bits for 16, and the white of grey in 16 bits for black.
    is_other_grey = opened.mode.startswith("I") and (
        tags.get(BITS) != (16,) or tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    )
    if opened.mode not in TIFF_MODES or is_other_grey:
        raise UnsupportedFormat(
            f"This TIFF holds numbers that are not the colours of a picture (mode {opened.mode}): "
            "save it as PNG or JPEG."
        )
    sides = zip(opened.size, (tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)), strict=True)
    if any(tile > max(TILE_SIDE_PIXELS, 2 * side) for side, tile in sides):
        raise DamagedPicture(f"The TIFF data is in tiles larger than the picture: {ANOTHER}")


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, or 1 if none can be read."""
    picture.info.pop("xmp", None)  # browsers do not turn a picture for it
    if "exif" in picture.info:
        picture.info["exif"] = picture.info["exif"][:LIMIT_EXIF_BYTES]
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a picture with broken EXIF data is still good
        return 1


def rgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB; an opaque RGB picture is returned as it is."""
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture pasted on white, one band of rows at a time.

    Pillow uses four bytes per pixel for RGB as for RGBA. With a whole copy in RGBA, 49 megapixels
    took 561 MiB at the peak; in bands they take 386.
    """
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
