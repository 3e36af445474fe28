"""Refuse pictures that are small in bytes and pixels but built to be slow to decode.

Measured on one 2.5 GHz core with Pillow 13: a JPEG of 228 kB and 49 megapixels with 480 scans took
29 s; 10 MiB of empty JPEG segments 16 s, of JPEG fill bytes 24 s, of empty PNG chunks 14 s, of a
JPEG's Photoshop notes 2.9 s, of its quantization tables 1.1 s, of GIF comments in one-byte blocks
2.9 s and 454 MiB. WebP is read entirely in C: 10 MiB of empty chunks or of single-pixel frames took
less than 0.2 s. So did GIF pixels in one-byte blocks.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from imgserve.errors import DamagedPicture, UnsupportedFormat

# Encoders write 10 scans for colour and 18 for CMYK (libjpeg's jpeg_simple_progression: 2, plus 4
# per component).
LIMIT_SCANS: Final = 50
# Each scan goes over all of the picture: 50 of 52 megapixels took 1.5 s, so of those 25 are enough.
LIMIT_SCANNED_PIXELS: Final = 1_300_000_000
# Pillow joins segments of EXIF, each time anew: 980 of 10 kB took 0.5 s. Cameras write one.
LIMIT_EXIF_SEGMENTS: Final = 16
EXIF: Final = b"Exif\0\0"
# A segment holds up to 64 KiB, so 10 MiB of colour profile and notes take 160.
LIMIT_SEGMENTS: Final = 1000
LIMIT_FILL_BYTES: Final = 65536
# Four quantization tables of 16 bits and the length itself: T.81, B.2.4.1.
LIMIT_TABLES_BYTES: Final = 2 + 4 * (1 + 64 * 2)
# Photoshop writes about thirty notes; reading one takes 3.3 microseconds. An appended film may
# contain the same bytes.
LIMIT_NOTES: Final = 10_000
NOTE: Final = b"8BIM"  # Adobe Photoshop File Formats Specification, "Image Resource Blocks"
LIMIT_CHUNKS: Final = 20_000  # libpng writes chunks of 8 KiB, which makes 1280 in 10 MiB
# EXIF is designed to fit one JPEG segment, which is this long (ITU-T T.81, B.1.1.4). PNG and WebP
# allow more: an orientation of 1.3 million fractions took 5 s and 200 MiB to read.
LIMIT_EXIF_BYTES: Final = 65536
# Pillow reads a GIF block in two pieces, a PNG chunk in three. Encoders write blocks of 255 bytes,
# so 10 MiB of comments take 82,000 reads. This many take 0.1 s.
LIMIT_READS: Final = 100_000
# Pillow unpacks the run lengths of a BMP in Python: so many pieces take up to a second.
LIMIT_RLE_READS: Final = 1_000_000
# One strip a row of the tallest picture; Pillow makes an object of each.
LIMIT_TIFF_VALUES: Final = 65536
BYTE_TYPES: Final = (1, 2, 7)  # of tags that are read but not looked into (TIFF 6.0, section 2)

# JPEG markers that are followed by a length, and the end marker (ITU-T T.81, table B.1). Left out
# are those that occur inside a scan's data, and the reserved ones, at which libjpeg gives up.
MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
END_OF_IMAGE: Final = 0xD9
START_OF_SCAN: Final = 0xDA
# Lossless, hierarchical and arithmetic coding, which no browser shows; 50 kB of the last took 6 s.
UNUSUAL_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
QUANTIZATION_TABLES: Final = 0xDB

PNG_SIGNATURE_BYTES: Final = 8
# Beside the critical chunks, whose names begin with a capital: transparency, orientation and the
# parts of an animation, of which two have a length in bytes (PNG specification, 3rd edition, 11.3).
PNG_ANIMATION: Final = {b"acTL": 8, b"fcTL": 26}
PNG_FRAME_DATA: Final = b"fdAT"


class ReadLimitedFile(io.BytesIO):
    """A file in memory that allows a limited number of reads.

    Where Pillow parses in Python, as GIF extensions and PNG chunks, it reads one piece at a time.
    Counting its reads needs no second parser, which might disagree with Pillow about the parts.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name
        self._reads_left = LIMIT_RLE_READS if name == "BMP" else LIMIT_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise too_slow(self._name)
        return super().read(size)


def check_jpeg(data: bytes) -> int:
    """Return how many scans a JPEG has; refuse one with too many parts.

    Parts are notes, scans, segments, fill bytes and quantization tables. Everything but notes is
    counted in the first picture only: phones append pictures and films. DamagedPicture where it has
    too many, or ends before its first scan; UnsupportedFormat where no browser shows its coding.
    """
    if data.count(NOTE) > LIMIT_NOTES:
        raise too_slow("JPEG")
    scans = exif = position = 0
    for parts, (start, kind, end) in enumerate(_segments(data), start=1):
        if not scans and start - position > LIMIT_FILL_BYTES:
            raise too_slow("JPEG")
        if kind == END_OF_IMAGE and not scans:  # Pillow would read on
            raise DamagedPicture("The JPEG data ends before its picture: save the picture again.")
        if kind == END_OF_IMAGE:
            return scans
        if kind in UNUSUAL_FRAMES:
            raise UnsupportedFormat(
                "This JPEG picture is coded in a way that browsers do not show: save it again."
            )
        if kind == QUANTIZATION_TABLES and end - start - 2 > LIMIT_TABLES_BYTES:
            raise too_slow("JPEG")
        position = end
        scans += kind == START_OF_SCAN
        exif += data.startswith(EXIF, start + 4)
        if scans > LIMIT_SCANS or parts > LIMIT_SEGMENTS or exif > LIMIT_EXIF_SEGMENTS:
            raise too_slow("JPEG")
    return scans


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each of a JPEG's segments starts, its kind and where it should end.

    The first end mark is the last; a segment's end may lie behind that of the data.
    """
    position, kind = 0, 0
    while kind != END_OF_IMAGE and (marker := MARKER.search(data, position)):
        start, kind = marker.start(), marker[0][1]
        position = start + 2
        if kind != END_OF_IMAGE:
            position += int.from_bytes(data[start + 2 : start + 4])
        yield start, kind, position


def ended_jpeg(data: bytes) -> tuple[bytes, bool]:
    """Return a JPEG that breaks off with an end mark, and whether its first scan is whole.

    It goes without the segment in which it breaks off, which the mark would fill. A scan is whole
    if something other than the end follows it.
    """
    segments = [segment for segment in _segments(data) if segment[1] != END_OF_IMAGE]
    cut = next((start for start, _, end in segments if max(end, start + 4) > len(data)), len(data))
    is_there = START_OF_SCAN in [kind for _, kind, _ in segments[:-1]]
    return data[:cut] + bytes([0xFF, END_OF_IMAGE]), is_there


def essential_png(data: bytes) -> bytes:
    """Return a PNG without the chunks that do not concern its pixels.

    Texts, times and colour profiles go, damaged or not, as in browsers; so does what is left of an
    optional chunk whose checksum is wrong, and an animation that is damaged. A chunk is its length,
    type, data and checksum (PNG specification, 5.3). DamagedPicture where there are too many.
    """
    position, kept, moves = PNG_SIGNATURE_BYTES, [data[:PNG_SIGNATURE_BYTES]], True
    for _ in range(LIMIT_CHUNKS):
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4])
        chunk = data[position:end]
        if _concerns_pixels(kind, chunk):
            kept.append(chunk)
        elif kind in PNG_ANIMATION:
            moves = False
        if kind in {b"", b"IEND"}:
            of_animation = {*PNG_ANIMATION, PNG_FRAME_DATA}
            return b"".join(part for part in kept if moves or part[4:8] not in of_animation)
        position = end
    raise too_slow("PNG")


def _concerns_pixels(kind: bytes, chunk: bytes) -> bool:
    if kind[:1].isupper() or kind == PNG_FRAME_DATA:
        return True
    is_whole = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
    if kind in PNG_ANIMATION:
        is_empty = kind == b"acTL" and chunk[8:12] == bytes(4)  # no frames
        return is_whole and len(chunk) == 12 + PNG_ANIMATION[kind] and not is_empty
    return kind in {b"tRNS", b"eXIf"} and len(chunk) <= LIMIT_EXIF_BYTES + 12 and is_whole


def check_tiff(data: bytes) -> None:
    """Refuse a TIFF whose first page has lists that are long to read, such as of its strips.

    A tag is its number, type, count and value (TIFF 6.0, section 2).
    """
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] != struct.pack(order + "H", 42):
        raise UnsupportedFormat("This TIFF picture is of an unusual kind: save it as PNG or JPEG.")
    (start,) = struct.unpack_from(order + "I", data, 4)
    (tags,) = struct.unpack_from(order + "H", data, start)
    for tag in range(tags):
        kind, count = struct.unpack_from(order + "HI", data, start + 2 + 12 * tag + 2)
        if kind not in BYTE_TYPES and count > LIMIT_TIFF_VALUES:
            raise too_slow("TIFF")


def too_slow(name: str) -> DamagedPicture:
    return DamagedPicture(
        f"The {name} data is cut into more parts than any camera or program makes: "
        "save the picture again."
    )
