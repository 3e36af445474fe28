"""Decode a stranger's picture: 8-bit RGB, upright, on white where it is transparent."""

import re
import struct
from functools import partial
from typing import Final

# Importing these registers them. Pillow would import forty other plugins to find WebP by itself.
import PIL.AvifImagePlugin
import PIL.BmpImagePlugin
import PIL.GifImagePlugin
import PIL.JpegImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
import PIL.WebPImagePlugin
from PIL import Image, ImageFile

from imgserve.contract import FORMATS, FORMATS_IN_WORDS
from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures.decode_limits import (
    LIMIT_EXIF_BYTES,
    LIMIT_SCANNED_PIXELS,
    ReadLimitedFile,
    check_jpeg,
    check_tiff,
    essential_png,
    too_slow,
)
from imgserve.pictures.pixels import COMPLETED, Open, completed, rgb
from imgserve.units import megapixels

PIL.AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a worker has one thread for each picture

# How other data begins, from https://mimesniff.spec.whatwg.org and the formats' specifications.
SIGNATURES: Final = {
    "a PDF document": (b"%pdf-",),
    "an icon (ICO)": (b"\0\0\1\0",),
    "a JPEG XL picture": (b"\xff\x0a", b"\0\0\0\x0cjxl "),
    "a drawing (SVG)": (b"<svg", b"<!doctype svg"),
    "JSON": (b"{", b"["),
    "a document in XML": (b"<?xml",),  # the last, as an SVG may begin so
}
HTML: Final = re.compile(
    rb"<(!doctype html|!--|/?(html|head|body|script|title|meta|link|style|base|iframe|h1|div|font"
    rb"|table|a|b|br|p|img|span|center|form|noscript)[\s/>])"
)
NOT_YET_CONTENT: Final = re.compile(rb"(\s+|<!--.*?-->|<\?xml[^>]*>)*", re.DOTALL)
# An ISO media file names its brands first (ISO/IEC 14496-12, 4.3; HEIF: ISO/IEC 23008-12).
AVIF_BRANDS: Final = {b"avif", b"avis"}
HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HEIC: Final = (
    "This is a HEIC photo, as iPhones make them, which is not accepted: save or export it as JPEG. "
    "An iPhone takes JPEG photos with Settings, Camera, Formats, Most Compatible."
)

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
# Pillow unpacks run lengths in Python: so many pixels take up to a second.
LIMIT_RLE_PIXELS: Final = 4_000_000
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


def decode(
    data: bytes, *, limit_pixels: int, least_side: int | None = None
) -> tuple[Image.Image, bool]:
    """Return the picture as RGB, upright, on white, and whether the end of its file is missing.

    An animation gives its first frame. Colour profiles (ICC, gAMA) are ignored, as they were when
    the models were trained. What is missing at the end is grey. A JPEG whose shorter side has at
    least twice ``least_side`` pixels is decoded at a half, a quarter or an eighth of its size.

    UnsupportedFormat where the data is in none of the accepted formats, whatever its name says, or
    in an unusual form of one; TooManyPixels, before anything is decoded, where that is more than
    ``limit_pixels`` or than a JPEG can have on a side; DamagedPicture where the data is broken, too
    little of it is there, or it is slow to decode.
    """
    name = format_of(data)
    opened = partial(_opened, name, limit_pixels=limit_pixels, least_side=least_side)
    try:
        return _decoded(name, data, opened)
    except (HttpError, MemoryError):
        raise
    except Image.DecompressionBombError as exc:  # Pillow's own limit is above ours
        raise TooManyPixels(
            f"The picture has more than {megapixels(limit_pixels)}: use a smaller one."
        ) from exc
    except Exception as exc:  # on broken data, Pillow's plugins raise all kinds of errors
        raise DamagedPicture(
            f"The {name} data is damaged or incomplete: save the picture again, or use another."
        ) from exc


def _decoded(name: str, data: bytes, opened: Open) -> tuple[Image.Image, bool]:
    source, is_whole = opened(data), True
    # The first frame of a GIF or an animated PNG may be smaller than the picture.
    frame = source.tile[0].extents if name == "GIF" else source.info.get("bbox")
    try:
        source.load()
    except (OSError, SyntaxError, ValueError, struct.error):  # the data breaks off
        if name not in COMPLETED:
            raise
        is_whole = False
    if is_whole:
        picture = rgb(source)
    else:
        del source  # completing the picture needs the memory
        source, picture = completed(name, data, opened, frame)
    turn = UPRIGHT.get(_orientation(source))
    del source  # turning the picture needs the memory
    if frame and frame != (0, 0, *picture.size):
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture.crop(frame), frame)
        picture = white
    return picture if turn is None else picture.transpose(turn), not is_whole


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
    opened: ImageFile.ImageFile = factory(ReadLimitedFile(data, name), "")
    _check_size(opened, limit_pixels)
    if scans * opened.width * opened.height > LIMIT_SCANNED_PIXELS:
        raise too_slow(name)
    if any(tile.codec_name in Image.DECODERS for tile in opened.tile):  # the ones in Python
        _check_size(opened, LIMIT_RLE_PIXELS)
    if name == "TIFF":
        _check_usual_tiff(opened)
    if name == "PNG" and getattr(opened, "default_image", False):
        opened.seek(1)  # the picture before is for programs that show no animation
    if least_side is not None:
        opened.draft(opened.mode, (least_side, least_side))
    return opened


def _check_size(opened: ImageFile.ImageFile, limit_pixels: int) -> None:
    if opened.width * opened.height > limit_pixels:
        raise TooManyPixels(
            f"The picture has {megapixels(opened.width * opened.height)} "
            f"({opened.width} x {opened.height}); at most {megapixels(limit_pixels)} are accepted: "
            "use a smaller one."
        )
    if max(opened.size) > LIMIT_SIDE_PIXELS:
        raise TooManyPixels(
            f"The picture is {opened.width} x {opened.height} pixels; at most "
            f"{LIMIT_SIDE_PIXELS} are accepted on a side: use a smaller one."
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
        raise DamagedPicture(
            "The TIFF data is in tiles larger than the picture: "
            "save the picture again, or use another."
        )


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, or 1 if none can be read."""
    picture.info.pop("xmp", None)  # browsers do not turn a picture for it
    if "exif" in picture.info:
        picture.info["exif"] = picture.info["exif"][:LIMIT_EXIF_BYTES]
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a picture with broken EXIF data is still good
        return 1


def format_of(data: bytes) -> str:
    """Return the accepted format that data begins as; UnsupportedFormat says what else it is."""
    prefix = data[:16]  # as many as Pillow's plugins need to recognise a format
    if data[4:8] == b"ftyp" and not AVIF_BRANDS & _brands(data):
        prefix = b""  # Pillow goes by the first brand alone, which may be that of any HEIF file
    for name in FORMATS:
        _, accept = Image.OPEN[name.upper()]
        if accept is not None and accept(prefix) is True:
            return name
    raise UnsupportedFormat(_looks_like(data))


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO media file; none where it is no such file."""
    end = min(int.from_bytes(data[:4]), 512) if data[4:8] == b"ftyp" else 0
    return {data[start : start + 4] for start in range(8, end, 4)}


def _looks_like(data: bytes) -> str:
    if not data:
        return "The picture is empty: choose it again."
    if HEIF_BRANDS & _brands(data):
        return HEIC
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lower()
    content = start[NOT_YET_CONTENT.match(start).end() :]  # type: ignore[union-attr]  # may be empty
    if HTML.match(content):
        return "This is a web page (HTML), not a picture: paste the address of the picture itself."
    for kind, begins in SIGNATURES.items():
        if content.startswith(begins) or start.startswith(begins):
            return f"This looks like {kind}: send a {FORMATS_IN_WORDS} picture."
    return f"This is not a picture of an accepted format: send a {FORMATS_IN_WORDS} picture."
