"""Damaged pictures of every format, and small files that are much work."""

import http.client
import io
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from imgserve.contract import PREDICT
from tools.attack.report import Row
from tools.attack.target import SAMPLE, Target, ask, require_alive
from tools.benchmarks.process import LOOPBACK, MB, Failed

DAMAGED, BOMBS = "damaged pictures", "small files that are much work"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF")
SIDE = 64
CALLERS = 4
NUMBERS = (0, 1, 0xFFFF, 2**31 - 1, 2**32 - 1)
LONGEST_S = 2.0  # of CPU, for one picture
MOST_MB = 1100  # of a worker: 850 for a picture, the rest for Python, libraries and a small model


def run_damaged(target: Target, *, is_quick: bool, seed: int) -> Iterator[Row]:
    """Yield how damaged pictures of each format were answered."""
    count = (6_000 if is_quick else 100_000) // len(FORMATS)
    for kind in FORMATS:
        with ThreadPoolExecutor(CALLERS) as callers:
            shares = [
                callers.submit(_send, target.port, kind, count // CALLERS, seed + number)
                for number in range(CALLERS)
            ]
            found = sum((share.result() for share in shares), Counter())
        faults = [status for status in found if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR]
        outcome = ", ".join(f"{status}: {count}" for status, count in sorted(found.items()))
        yield Row(DAMAGED, kind, f"{found.total():,}", outcome, "no 5xx", not faults)
    require_alive(target)


def _send(port: int, kind: str, count: int, seed: int) -> Counter[int]:
    """Send damaged pictures one after the other; count the answers by status."""
    dice = random.Random(seed)  # noqa: S311  the same each time
    found: Counter[int] = Counter()
    whole = [_encoded(kind, mode, dice) for mode in ("L", "RGB", "RGBA", "P")]
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    for _ in range(count):
        data = _damaged(dice.choice(whole), dice)
        connection.request("POST", PREDICT, data, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        answer.read()
        found[answer.status] += 1
    connection.close()
    return found


def _encoded(kind: str, mode: str, dice: random.Random) -> bytes:
    picture = Image.effect_noise((SIDE, SIDE), 60).convert("RGB").convert(mode)
    if kind == "JPEG":
        picture = picture.convert("RGB")
    options = {"progressive": dice.random() < 1 / 2} if kind == "JPEG" else {}
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


# --- much work -----------------------------------------------------------------------------------


def run_bombs(target: Target) -> Iterator[Row]:
    """Yield how long one answer took, of the CPU, and how much memory a worker had at most."""
    for name, make in BOMB_FILES.items():
        data = make()
        before = _cpu_s(target)
        got = ask(target.port, "POST", PREDICT, data)
        spent_s, peak_mb = _cpu_s(target) - before, _peak_mb(target)
        yield Row(
            BOMBS,
            f"{name}, {len(data) / MB:.2f} MB",
            "1",
            f"{got.status} after {spent_s:.2f} s of CPU; {peak_mb:.0f} MB at most so far",
            f"{LONGEST_S:g} s, {MOST_MB} MB, no 5xx",
            spent_s <= LONGEST_S and peak_mb <= MOST_MB and got.status < 500,  # noqa: PLR2004
        )
    require_alive(target)


def _cpu_s(target: Target) -> float:
    return sum(sum(worker.cpu_times()[:2]) for worker in target.workers)


def _peak_mb(target: Target) -> float:
    """Return the most memory that one worker has had."""
    peaks = []
    for worker in target.workers:
        with open(f"/proc/{worker.pid}/status", encoding="utf-8") as status:  # noqa: PTH123
            peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    if not peaks:
        raise Failed("no process that computes was found")
    return max(peaks) * 1024 / MB


def _jpeg(size: tuple[int, int], **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "JPEG", **options)
    return file.getvalue()


def _with(segments: bytes) -> bytes:
    return SAMPLE[:2] + segments + SAMPLE[2:]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def _scans(side: int, more: int) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    data = _jpeg((side, side), progressive=True, quality=5)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _png(side: int, *, channels: int = 3, chunks: bytes = b"") -> bytes:
    """Return a black PNG; of more than 60 megapixels only what says so."""
    rows = side if side * side < 60e6 else 1  # noqa: PLR2004
    colour = {3: 2, 4: 6}[channels]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0))
    pixels = zlib.compress(bytes(rows * (1 + channels * side)), 9)
    return b"\x89PNG\r\n\x1a\n" + head + chunks + _chunk(b"IDAT", pixels) + _chunk(b"IEND")


def _saved(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


EXIF = b"Exif\0\0II*\0\x08\0\0\0"
BOMB_FILES: dict[str, Callable[[], bytes]] = {
    "JPEG of 52 megapixels": lambda: _jpeg((7211, 7211)),
    "progressive JPEG of 52 megapixels": lambda: _jpeg((7211, 7211), progressive=True),
    "JPEG of 52 megapixels, one narrow strip": lambda: _jpeg((65500, 793)),
    "progressive JPEG with 50 scans of 52 megapixels": lambda: _scans(7211, 40),
    "progressive JPEG with 25 scans of 52 megapixels": lambda: _scans(7211, 15),
    "JPEG with 9 MB of EXIF": lambda: _with(_segment(0xE1, EXIF + bytes(65_000)) * 140),
    "JPEG with 300,000 segments": lambda: _with(_segment(0xE1, EXIF) * 300_000),
    "JPEG that ends before its picture, then 300,000 segments": lambda: (
        SAMPLE[:2] + b"\xff\xd9" + _segment(0xE1, EXIF) * 300_000 + SAMPLE[2:]
    ),
    "JPEG with 9 MB of fill bytes": lambda: _with(b"\xff" * 9_000_000),
    "PNG of 4 thousand megapixels": lambda: _png(65_000),
    "PNG of 52 megapixels": lambda: _png(7211),
    "transparent PNG of 52 megapixels": lambda: _png(7211, channels=4),
    "PNG with 500,000 empty chunks": lambda: _png(8, chunks=_chunk(b"teXt") * 500_000),
    "GIF of 52 megapixels": lambda: _saved("GIF", (7211, 7211), "L"),
    "WebP of 52 megapixels": lambda: _saved("WEBP", (7211, 7211), method=0),
    "AVIF of 52 megapixels": lambda: _saved("AVIF", (7211, 7211), speed=10),
    "TIFF of 52 megapixels": lambda: _saved("TIFF", (7211, 7211), compression="tiff_lzw"),
    "TIFF of 52 megapixels, CCITT": lambda: _saved("TIFF", (7211, 7211), "1", compression="group4"),
}
