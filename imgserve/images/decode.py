"""Decode a stranger's picture."""

import io
from typing import Final

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin
from PIL import WebPImagePlugin as WebpImagePlugin

from imgserve.contract import FORMATS
from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.images.effort import check_jpeg, check_png

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

# From 16 bits to 8, rounded; Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]


def decode(data: bytes, *, limit_pixels: int) -> Image.Image:
    """Return the picture as RGB, upright, on white where it is transparent.

    Of an animation it is the first frame. Colour profiles (ICC) are left aside: the models were
    trained on pictures read without them.

    Raises:
        UnsupportedFormat: it is none of the accepted formats, whatever its name says.
        TooManyPixels: its header announces more than ``limit_pixels``; nothing was decoded.
        DamagedPicture: the format is accepted, the data is broken or incomplete.
    """
    name = _format_of(data)
    try:
        opened = _opened(name, data)
        if opened.width * opened.height > limit_pixels:
            raise _too_many_pixels(limit_pixels)
        opened.load()
        return _upright(_rgb(opened), _orientation(opened))
    except HttpError:
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


def _opened(name: str, data: bytes) -> Image.Image:
    """Return the picture with its header read.

    Not through ``Image.open``, whose pixel limit is one variable for the whole process.
    """
    if name in CHECKS:
        CHECKS[name](data)
    factory, _ = Image.OPEN[name.upper()]
    return factory(io.BytesIO(data), "")


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
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF data does not make a broken picture
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a 16-bit grey picture with 8 bits, and an alpha channel if it has transparency."""
    wide = picture.convert("I")
    grey = wide.point(EIGHT_BITS, "L")
    if not picture.has_transparency_data:
        return grey
    clear = picture.info["transparency"]  # the one value that is transparent
    alpha = wide.point([255 * (value != clear) for value in range(65536)], "L")
    return Image.merge("LA", (grey, alpha))
