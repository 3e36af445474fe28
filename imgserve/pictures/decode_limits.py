"""Refuse pictures that are small in bytes and pixels but built to be slow to decode.

Measured on one 2.5 GHz core with Pillow 13: a JPEG of 228 kB and 49 megapixels with 480 scans took
29 s; 10 MiB of empty JPEG segments 16 s, of JPEG fill bytes 24 s, of empty PNG chunks 14 s, of PNG
texts that unpack to 1 MiB each 34 s, of a JPEG's Photoshop notes 2.9 s, of its quantization tables
1.1 s, of GIF comments in one-byte blocks 2.9 s and 454 MiB. WebP is read entirely in C: 10 MiB of
empty chunks or of single-pixel frames took less than 0.2 s. So did GIF pixels in one-byte blocks.
"""

import io
import re
from typing import Final

from imgserve.errors import DamagedPicture

# Encoders write 10 scans for colour and 18 for CMYK (libjpeg's jpeg_simple_progression: 2, plus 4
# per component).
LIMIT_SCANS: Final = 50
# A segment holds up to 64 KiB, so 10 MiB of colour profile and notes take 160.
LIMIT_SEGMENTS: Final = 1000
LIMIT_FILL_BYTES: Final = 65536
# Four quantization tables of 16 bits and the length itself: T.81, B.2.4.1.
LIMIT_TABLES_BYTES: Final = 2 + 4 * (1 + 64 * 2)
# Photoshop writes about thirty notes; reading one takes 3.3 microseconds. An appended film may
# contain the same bytes.
LIMIT_NOTES: Final = 10_000
NOTE: Final = b"8BIM"  # Adobe Photoshop File Formats Specification, "Image Resource Blocks"
# libpng writes chunks of 8 KiB, which makes 1280 in 10 MiB.
LIMIT_CHUNKS: Final = 20_000
# A picture has one colour profile and a few texts; unpacking one may take 3.4 ms.
LIMIT_COMPRESSED_CHUNKS: Final = 100
COMPRESSED: Final = (b"iCCP", b"zTXt", b"iTXt")  # PNG specification, 11.3.2.3, 11.3.3.3, 11.3.3.4
# Pillow reads a GIF block in two pieces, a PNG chunk in three. Encoders write blocks of 255 bytes,
# so 10 MiB of comments take 82,000 reads. This many take 0.1 s.
LIMIT_READS: Final = 100_000

# JPEG markers that are followed by a length, and the end marker (ITU-T T.81, table B.1). Left out
# are those that occur inside a scan's data, and the reserved ones, at which libjpeg gives up.
MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
END_OF_IMAGE: Final = 0xD9
START_OF_SCAN: Final = 0xDA
QUANTIZATION_TABLES: Final = 0xDB


class ReadLimitedFile(io.BytesIO):
    """A file in memory that allows a limited number of reads.

    Where Pillow parses in Python, as GIF extensions and PNG chunks, it reads one piece at a time.
    Counting its reads needs no second parser, which might disagree with Pillow about the parts.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name
        self._reads_left = LIMIT_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next piece.

        Raises:
            DamagedPicture: there were too many reads.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise _too_slow(self._name)
        return super().read(size)


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG with too many notes, scans, segments, fill bytes or quantization tables.

    Everything but notes is counted in the first picture only: phones append pictures and films.
    """
    if data.count(NOTE) > LIMIT_NOTES:
        raise _too_slow("JPEG")
    scans = segments = position = 0
    while True:
        marker = MARKER.search(data, position)
        start = marker.start() if marker else len(data)
        if not scans and start - position > LIMIT_FILL_BYTES:
            raise _too_slow("JPEG")
        if marker is None or marker[0][1] == END_OF_IMAGE:
            return
        size = int.from_bytes(data[start + 2 : start + 4])
        segments += 1
        scans += marker[0][1] == START_OF_SCAN
        is_long = marker[0][1] == QUANTIZATION_TABLES and size > LIMIT_TABLES_BYTES
        if is_long or scans > LIMIT_SCANS or segments > LIMIT_SEGMENTS:
            raise _too_slow("JPEG")
        position = start + 2 + size


def check_png(data: bytes) -> None:
    """Refuse a PNG with too many chunks, or too many compressed ones.

    A chunk is its length, type, data and CRC (PNG specification, 5.3).
    """
    position, compressed = 8, 0
    for _ in range(LIMIT_CHUNKS):
        kind = data[position + 4 : position + 8]
        if kind in {b"", b"IEND"}:
            return
        compressed += kind in COMPRESSED
        if compressed > LIMIT_COMPRESSED_CHUNKS:
            break
        position += 12 + int.from_bytes(data[position : position + 4])
    raise _too_slow("PNG")


def _too_slow(name: str) -> DamagedPicture:
    return DamagedPicture(
        f"The {name} data is cut into more parts than any camera or program makes: "
        "save the picture again."
    )
