"""Damaged pictures of every format, and small files that are much work."""

import argparse
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from imgserve.contract import PREDICT
from tools.attack.target import FIRST_FAULT, LOST, SAMPLE, Row, Target, backend, post, tally
from tools.benchmarks.programs import MB
from tools.process import Failed

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF")
NUMBERS = (0, 1, 0xFFFF, 2**31 - 1, 2**32 - 1)
SIZE = (7211, 7211)  # 52 megapixels
LONGEST_S = 2.0  # of CPU, for one picture
MOST_MB = 1100  # of a worker: 850 for a picture, the rest for Python, libraries and a small model


def run_damaged(given: argparse.Namespace) -> Iterator[Row]:
    """Yield how damaged pictures of each format were answered."""
    count = (6_000 if given.quick else 100_000) // len(FORMATS)
    dice = random.Random(given.seed)  # noqa: S311  the same each time
    with backend() as target:
        for kind in FORMATS:
            whole = [_noise(kind, mode, dice) for mode in ("L", "RGB", "RGBA", "P")]
            damaged = (_damaged(dice.choice(whole), dice) for _ in range(count))
            found = target.answers((post(PREDICT, data) for data in damaged), callers=4)
            is_held = LOST not in found and max(found) < FIRST_FAULT
            yield Row(kind, f"{found.total():,}", tally(found), "no 5xx", is_held)
        target.require_alive()


def _noise(kind: str, mode: str, dice: random.Random) -> bytes:
    picture = Image.effect_noise((64, 64), 60).convert("RGB").convert(mode)
    if kind == "JPEG":
        return _file(picture.convert("RGB"), kind, progressive=dice.random() < 1 / 2)
    return _file(picture, kind)


def _file(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _damaged(whole: bytes, dice: random.Random) -> bytes:
    """Return a file with some bytes changed, cut or repeated, most of the time in its head."""
    data = bytearray(whole)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        if len(data) < 2:  # noqa: PLR2004
            break
        reach = min(len(data), dice.choice((64, 600, len(data))))
        at = dice.randrange(reach)
        match dice.randrange(6):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                data[at] ^= 1 << dice.randrange(8)
            case 2:
                data[at : at + 4] = struct.pack(">I", dice.choice(NUMBERS))
            case 3:
                del data[at : at + dice.randrange(1, 40)]
            case 4:
                data[at:at] = data[at : at + dice.randrange(1, 200)]
            case _:
                del data[dice.randrange(len(data) // 2, len(data) + 1) :]
    return bytes(data)


def run_bombs(_: argparse.Namespace) -> Iterator[Row]:
    """Yield how long one answer took, of the CPU, and how much memory a worker had at most."""
    with backend() as target:
        for name, make in BOMBS.items():
            data, before_s = make(), _cpu_s(target)
            (status,) = target.answers([post(PREDICT, data)])
            spent_s, peak_mb = _cpu_s(target) - before_s, _peak_mb(target)
            yield Row(
                f"{name}, {len(data) / MB:.2f} MB",
                "1",
                f"{status} after {spent_s:.2f} s of CPU; {peak_mb:.0f} MB at most so far",
                f"{LONGEST_S:g} s, {MOST_MB} MB, no 5xx",
                spent_s <= LONGEST_S and peak_mb <= MOST_MB and LOST < status < FIRST_FAULT,
            )
        target.require_alive()


def _cpu_s(target: Target) -> float:
    return sum(sum(worker.cpu_times()[:2]) for worker in target.workers)


def _peak_mb(target: Target) -> float:
    texts = [Path(f"/proc/{worker.pid}/status").read_text("ascii") for worker in target.workers]
    if not texts:
        raise Failed("no process that computes was found")
    return max(int(text.partition("VmHWM:")[2].split()[0]) for text in texts) * 1024 / MB


def _saved(kind: str, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: object) -> bytes:
    return _file(Image.new(mode, size), kind, **options)


def _with(segments: bytes) -> bytes:
    return SAMPLE[:2] + segments + SAMPLE[2:]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def _scans(more: int) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    data = _saved("JPEG", progressive=True, quality=5)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


EXIF = b"Exif\0\0II*\0\x08\0\0\0"
SMALL_PNG = _saved("PNG", size=(8, 8))
HEAD = 33  # of its bytes: the signature, and the chunk IHDR
LARGE_IHDR = _chunk(b"IHDR", struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0))
BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG of 52 megapixels": lambda: _saved("JPEG"),
    "progressive JPEG of 52 megapixels": lambda: _saved("JPEG", progressive=True),
    "JPEG of 52 megapixels, one narrow strip": lambda: _saved("JPEG", size=(65_500, 793)),
    "progressive JPEG with 50 scans of 52 megapixels": lambda: _scans(40),
    "progressive JPEG with 25 scans of 52 megapixels": lambda: _scans(15),
    "JPEG with 9 MB of EXIF": lambda: _with(_segment(0xE1, EXIF + bytes(65_000)) * 140),
    "JPEG with 300,000 segments": lambda: _with(_segment(0xE1, EXIF) * 300_000),
    "JPEG that ends before its picture, then 300,000 segments": lambda: _with(
        b"\xff\xd9" + _segment(0xE1, EXIF) * 300_000
    ),
    "JPEG with 9 MB of fill bytes": lambda: _with(b"\xff" * 9_000_000),
    "PNG of 4 thousand megapixels": lambda: SMALL_PNG[:8] + LARGE_IHDR + SMALL_PNG[HEAD:],
    "PNG of 52 megapixels": lambda: _saved("PNG", compress_level=9),
    "transparent PNG of 52 megapixels": lambda: _saved("PNG", "RGBA", compress_level=9),
    "PNG with 500,000 empty chunks": lambda: (
        SMALL_PNG[:HEAD] + _chunk(b"teXt") * 500_000 + SMALL_PNG[HEAD:]
    ),
    "GIF of 52 megapixels": lambda: _saved("GIF", "L"),
    "WebP of 52 megapixels": lambda: _saved("WEBP", method=0),
    "AVIF of 52 megapixels": lambda: _saved("AVIF", speed=10),
    "TIFF of 52 megapixels": lambda: _saved("TIFF", compression="tiff_lzw"),
    "TIFF of 52 megapixels, CCITT": lambda: _saved("TIFF", "1", compression="group4"),
}
