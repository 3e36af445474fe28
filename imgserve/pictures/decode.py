"""Decode a stranger's picture: 8-bit RGB, upright, on white where it is transparent."""

from typing import Final

from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin
from PIL import WebPImagePlugin as WebpImagePlugin

from imgserve.contract import FORMATS
from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures.decode_limits import ReadLimitedFile, check_jpeg, check_png

# Importing these registers them. Pillow would import forty other plugins to find WebP by itself.
PLUGINS: Final = (
    BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebpImagePlugin,
)  # fmt: skip

CHECKS: Final = {"JPEG": check_jpeg, "PNG": check_png}
PREFIX_BYTES: Final = 16  # as many as Pillow's plugins need to recognise a format
ACCEPTED: Final = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"

# How other kinds of data begin, from https://mimesniff.spec.whatwg.org and the formats' own
# specifications. An ISO media file names its brand in bytes 4 to 12 (ISO/IEC 14496-12, 4.3).
SIGNATURES: Final = (
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

# JPEG (ITU-T T.81, B.2.2) and GIF allow no more; WebP allows 16383. Pillow keeps 8 bytes per row:
# 49 megapixels in a single column took 1682 MiB, in a square 386 MiB at most.
LIMIT_SIDE_PIXELS: Final = 65535
# EXIF is designed to fit one JPEG segment, which is this long (ITU-T T.81, B.1.1.4). PNG and WebP
# allow more: an orientation of 1.3 million fractions took 5 s and 200 MiB to read.
LIMIT_EXIF_BYTES: Final = 65536
EXIF_KEYS: Final = {"exif", "Raw profile type exif"}  # in Pillow; ImageMagick writes the second

# From 16 bits to 8, rounded. Pillow's own conversion would clip at 255.
EIGHT_BITS: Final = [(value + 128) // 257 for value in range(65536)]

BAND_PIXELS: Final = 2**20


def decode(data: bytes, *, limit_pixels: int, least_side: int | None = None) -> Image.Image:
    """Return the picture as RGB, upright, on white where it is transparent.

    An animation gives its first frame. Colour profiles (ICC) are ignored, as they were when the
    models were trained.

    Args:
        data: the file's content.
        limit_pixels: the most pixels accepted, width times height.
        least_side: pixels that the shorter side must keep. A JPEG with at least twice as many is
            decoded at a half, a quarter or an eighth of its size. None decodes at full size.

    Raises:
        UnsupportedFormat: the data is in none of the accepted formats, whatever its name says, or
            is a run-length encoded BMP.
        TooManyPixels: the header announces more than ``limit_pixels``, or a longer side than a
            JPEG can have. Nothing was decoded.
        DamagedPicture: the format is accepted, but the data is broken or incomplete.
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
        del opened  # turning the picture needs the memory
        return picture if turn is None else picture.transpose(turn)
    except (HttpError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many_pixels(limit_pixels) from exc
    except Exception as exc:  # on broken data, Pillow's plugins raise all kinds of errors
        raise DamagedPicture(
            f"The {name} data is damaged or incomplete: save the picture again, or use another."
        ) from exc


def _format_of(data: bytes) -> str:
    """Return the accepted format whose signature the data begins with."""
    prefix = data[:PREFIX_BYTES]
    for name in FORMATS:
        _, accept = Image.OPEN[name.upper()]
        if accept is not None and accept(prefix) is True:
            return name
    raise UnsupportedFormat(_looks_like(data))


def _opened(name: str, data: bytes) -> ImageFile.ImageFile:
    """Return the picture with only its header read.

    ``Image.open`` is not used: its pixel limit is one variable for the whole process.
    """
    if name in CHECKS:
        CHECKS[name](data)
    factory, _ = Image.OPEN[name.upper()]
    opened = factory(ReadLimitedFile(data, name), "")
    # The only decoder written in Python for these formats is BMP's run lengths (compression 1 and
    # 2). A file of 1082 bytes that announced 49 megapixels kept it, and with it every other
    # thread, busy for 13 s.
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
    """Return what to tell someone whose data is not an accepted picture."""
    if not data:
        return f"The picture is empty: send a {ACCEPTED} picture."
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    kind = BRANDS.get(data[8:12], "") if data[4:8] == b"ftyp" else ""
    kind = kind or next((name for starts, name in SIGNATURES if start.startswith(starts)), "")
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
    """Return the EXIF orientation, or 1 if none can be read."""
    for key in EXIF_KEYS & picture.info.keys():
        picture.info[key] = picture.info[key][:LIMIT_EXIF_BYTES]
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
    rows = max(1, BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        band = picture.crop(box).convert("RGBA")
        white.paste(band, box, band)
    return white


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a 16-bit grey picture in 8 bits, white where it is transparent."""
    table = EIGHT_BITS.copy()
    if picture.has_transparency_data:
        table[picture.info.pop("transparency")] = 255  # exactly one value is transparent
    return picture.convert("I").point(table, "L")
