"""Decode a stranger's picture."""

from typing import Final

from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin
from PIL import WebPImagePlugin as WebpImagePlugin

from imgserve.contract import FORMATS
from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures.colour import rgb
from imgserve.pictures.decode_limits import PatientFile, check_jpeg, check_png

# Registers the formats with Pillow; left to itself, it would import its forty others for a WebP.
PLUGINS: Final = (
    BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebpImagePlugin,
)  # fmt: skip

CHECKS: Final = {"JPEG": check_jpeg, "PNG": check_png}
PREFIX_BYTES: Final = 16  # what Pillow's plugins tell a format from
ACCEPTED: Final = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"

# How data of other kinds begins, from https://mimesniff.spec.whatwg.org and the formats' own
# specifications; 4 to 12 is where an ISO media file (ISO/IEC 14496-12, 4.3) names its brand.
LOOKS: Final = (
    ((b"<!doctype html", b"<html", b"<head", b"<body"), "a web page (HTML)"),
    ((b"<svg", b"<?xml"), "a drawing or document in XML, such as SVG"),
    ((b"%pdf-",), "a PDF document"),
    ((b"ii*\0", b"mm\0*"), "a TIFF picture"),
    ((b"\0\0\1\0",), "an icon (ICO)"),
    ((b"\xff\x0a", b"\0\0\0\x0cjxl "), "a JPEG XL picture"),
    ((b"{", b"["), "JSON"),
)
BRANDS: Final = {
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"heic": "a HEIC photo",
    b"heix": "a HEIC photo",
    b"mif1": "a HEIF picture",
}

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

# The most that JPEG (ITU-T T.81, B.2.2) and GIF can have; WebP has 16383. Pillow keeps 8 bytes for
# each row: 49 megapixels in a column of single pixels took 1682 MiB, in a square at most 386.
LIMIT_SIDE_PIXELS: Final = 65535
# EXIF is made to fit a JPEG segment, which holds so much (ITU-T T.81, B.1.1.4). PNG and WebP allow
# more: an orientation of 1.3 million fractions took 5 s and 200 MiB to read.
LIMIT_EXIF_BYTES: Final = 65536
EXIF_KEYS: Final = {"exif", "Raw profile type exif"}  # Pillow's; the second is ImageMagick's way


def decode(data: bytes, *, limit_pixels: int, least_side: int | None = None) -> Image.Image:
    """Return the picture as RGB, upright, on white where it is transparent.

    Of an animation it is the first frame. Colour profiles (ICC) are left aside: the models were
    trained on pictures read without them.

    Args:
        data: the file.
        limit_pixels: width times height that are accepted.
        least_side: pixels that the shorter side must keep; a JPEG that has twice as many or more is
            decoded at a half, a quarter or an eighth of its size. Without it, nothing is reduced.

    Raises:
        UnsupportedFormat: it is none of the accepted formats, whatever its name says, or is a
            run-length encoded BMP.
        TooManyPixels: its header announces more than ``limit_pixels``, or a longer side than JPEG
            can have; nothing was decoded.
        DamagedPicture: the format is accepted, the data is broken or incomplete.
    """
    name = _format_of(data)
    try:
        opened = _opened(name, data)
        _check_size(opened, limit_pixels)
        if least_side is not None:
            opened.draft(opened.mode, (least_side, least_side))
        opened.load()
        turn = UPRIGHT.get(_orientation(opened))
        picture = rgb(opened)
        del opened  # the memory that turning takes
        return picture if turn is None else picture.transpose(turn)
    except (HttpError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many_pixels(limit_pixels) from exc
    except Exception as exc:  # Pillow's plugins let out whatever broken data leads to
        raise DamagedPicture(
            f"The {name} data is damaged or incomplete: save the picture again, or use another."
        ) from exc


def _format_of(data: bytes) -> str:
    """Return which of the accepted formats the data begins like."""
    prefix = data[:PREFIX_BYTES]
    for name in FORMATS:
        _, accept = Image.OPEN[name.upper()]
        if accept is not None and accept(prefix) is True:
            return name
    raise UnsupportedFormat(_looks_like(data))


def _opened(name: str, data: bytes) -> ImageFile.ImageFile:
    """Return the picture with its header read.

    Not through ``Image.open``, whose pixel limit is one variable for the whole process.
    """
    if name in CHECKS:
        CHECKS[name](data)
    factory, _ = Image.OPEN[name.upper()]
    opened = factory(PatientFile(data, name), "")
    # Decoders in Python: of these formats, BMP's run lengths (compression 1 and 2). 1082 bytes that
    # promise 49 megapixels kept it, and with it all other threads, busy for 13 s.
    if any(tile.codec_name in Image.DECODERS for tile in opened.tile):
        raise UnsupportedFormat(
            f"This {name} picture is run-length encoded (RLE), which is not accepted: "
            "save it as PNG."
        )
    return opened


def _check_size(opened: ImageFile.ImageFile, limit_pixels: int) -> None:
    if opened.width * opened.height > limit_pixels:
        raise _too_many_pixels(limit_pixels)
    if max(opened.size) > LIMIT_SIDE_PIXELS:
        raise TooManyPixels(
            f"The picture is more than {LIMIT_SIDE_PIXELS} pixels wide or high: use a smaller one."
        )


def _looks_like(data: bytes) -> str:
    """Return what to tell someone whose data is no accepted picture."""
    if not data:
        return f"The picture is empty: send a {ACCEPTED} picture."
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    kind = BRANDS.get(data[8:12], "") if data[4:8] == b"ftyp" else ""
    kind = kind or next((name for starts, name in LOOKS if start.startswith(starts)), "")
    if "HTML" in kind:
        return f"This looks like {kind}, not a picture: paste the address of the picture itself."
    if kind:
        return f"This looks like {kind}: send a {ACCEPTED} picture."
    return f"This is not a picture of an accepted format: send a {ACCEPTED} picture."


def _too_many_pixels(limit_pixels: int) -> TooManyPixels:
    return TooManyPixels(
        f"The picture has more than {limit_pixels} pixels (width times height): use a smaller one."
    )


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none that can be read."""
    for key in EXIF_KEYS & picture.info.keys():
        picture.info[key] = picture.info[key][:LIMIT_EXIF_BYTES]
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF data does not make a broken picture
        return 1
