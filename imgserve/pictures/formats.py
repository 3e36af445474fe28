"""What a stranger's file is, by how it begins."""

import re
from typing import Final

# Importing these registers them. Pillow would import forty other plugins to find WebP by itself.
import PIL.AvifImagePlugin
import PIL.BmpImagePlugin
import PIL.GifImagePlugin
import PIL.JpegImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
import PIL.WebPImagePlugin
from PIL import Image

from imgserve.contract import FORMATS, FORMATS_IN_WORDS
from imgserve.errors import UnsupportedFormat

PIL.AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a worker has one thread for each picture

PREFIX_BYTES: Final = 16  # as many as Pillow's plugins need to recognise a format

# How other kinds of data begin, from https://mimesniff.spec.whatwg.org and the formats' own
# specifications.
SIGNATURES: Final = (
    (b"%pdf-", "a PDF document"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cjxl ", "a JPEG XL picture"),
    (b"<svg", "a drawing (SVG)"),
    (b"<!doctype svg", "a drawing (SVG)"),
    (b"<?xml", "a document in XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
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


def format_of(data: bytes) -> str:
    """Return the accepted format whose signature the data begins with.

    UnsupportedFormat says what the data is instead, where that is known.
    """
    prefix = data[:PREFIX_BYTES]
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
    """Return what to tell someone whose data is not an accepted picture."""
    if not data:
        return "The picture is empty: choose it again."
    if HEIF_BRANDS & _brands(data):
        return HEIC
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lower()
    content = start[NOT_YET_CONTENT.match(start).end() :]  # type: ignore[union-attr]  # may be empty
    kind = next((name for begin, name in SIGNATURES if content.startswith(begin)), "")
    if not kind and HTML.match(content):
        return "This is a web page (HTML), not a picture: paste the address of the picture itself."
    kind = kind or next((name for begin, name in SIGNATURES if start.startswith(begin)), "")
    if kind:
        return f"This looks like {kind}: send a {FORMATS_IN_WORDS} picture."
    return f"This is not a picture of an accepted format: send a {FORMATS_IN_WORDS} picture."
