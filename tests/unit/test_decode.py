"""Decoding strangers' pictures."""

import contextlib
import io
import itertools
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures import decode as decoding
from imgserve.pictures import decode_limits as limits
from imgserve.pictures.decode import decode
from tests.conftest import CASES, needs
from tests.unit.pictures import saved

LIMIT = 1_000_000
WHITE = (255, 255, 255)
CAT = Path("imgserve/samples/cat.jpg").read_bytes()
SIZE = (48, 32)


def decoded(data: bytes, *, incomplete: bool = False, **how: Any) -> Image.Image:
    """Return a picture that is whole, or of which only a part is there."""
    picture, found = decode(data, limit_pixels=LIMIT, **how)
    assert (picture.mode, found) == ("RGB", incomplete)
    return picture


def refused(data: bytes, error: type[HttpError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        decode(data, limit_pixels=LIMIT)


def cut_into_parts(data: bytes, kind: str = "") -> None:
    refused(data, DamagedPicture, f"{kind} data is cut into more parts")


completed = partial(decoded, incomplete=True)


def start_of(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def pixels(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture).astype(int)


def gradient(mode: str = "RGB") -> Image.Image:
    """Return a picture whose four corners all differ."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 200, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)).convert(mode)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    size: tuple[int, int], rows: bytes, *chunks: bytes, behind: bytes = b"", **how: int
) -> bytes:
    """Return a PNG file, made by hand where Pillow cannot write it, with chunks around the rows."""
    told = {"depth": 8, "colour": 0, "compression": 0, "filter": 0, "interlace": 0} | how
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, *told.values())) + b"".join(chunks)
    rows = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + start + rows + behind + chunk(b"IEND")


def placed(frame: Image.Image, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """Return a GIF with a frame somewhere on a larger canvas, whose background is not white."""
    whole = saved(frame, "GIF", interlace=0)
    picture = 13 + 3 * 2 ** ((whole[10] & 7) + 1)  # behind the header and the palette
    header = whole[:6] + struct.pack("<HHBB", *canvas, whole[10], 1) + whole[12:picture]
    return header + b"," + struct.pack("<HH", *at) + whole[picture + 5 :]


COLOURS = [(200, 30, 40), (10, 20, 250)]
BMP_ROWS = {  # a row of the two colours, or of their indices, in bits that Pillow does not write
    4: b"\x01\0\0\0",
    16: struct.pack("<2H", 25 << 10 | 4 << 5 | 5, 1 << 10 | 2 << 5 | 31),
    32: bytes([40, 30, 200, 0, 250, 20, 10, 0]),
}


RUNS = b"\1\0\1\1\0\0"  # a row of both colours, run-length encoded in 8 bits


def bmp(bits: int, rows: bytes, *, height: int = 1, coding: int = 0, more: bytes = b"") -> bytes:
    """Return a BMP file with a palette of the two colours, where it has one, or a longer header."""
    palette = b"".join(bytes([b, g, r, 0]) for r, g, b in COLOURS) if bits <= 8 else b""
    own = 40 + len(more), 2, height, 1, bits, coding, 0, 0, 0, 2, 0
    header = struct.pack("<IiiHHIIiiII", *own) + more + palette
    start = 14 + len(header)
    return struct.pack("<2sIII", b"BM", start + len(rows), 0, start) + header + rows


def tiff_tag(number: int, kind: int, value: int, count: int = 1) -> bytes:
    return struct.pack("<HHII", number, kind, count, value)


def tiff(*tags: bytes, rows: bytes = b"\1\2\3\4") -> bytes:
    """Return a grey TIFF of 2 x 2 pixels, with more tags behind its own."""
    own = [(256, 3, 2), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (278, 3, 2)]
    entries = [*(tiff_tag(*tag) for tag in own), tiff_tag(273, 4, 8), *tags]
    start = 8 + len(rows)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + rows + directory


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


# What comes back


UPRIGHT = gradient()
TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270"
AS_STORED = {1: UPRIGHT} | {
    orientation: UPRIGHT.transpose(Image.Transpose[turn])
    for orientation, turn in enumerate(TURNS.split(), 2)
}


WELL: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
}
FILM = np.random.default_rng(0).bytes(1_000_000)  # holds what looks like a scan 15 times
LONG = Image.frombytes("RGB", (400, 400), FILM[:480_000])
RED, *OTHERS = (Image.new("RGB", SIZE, colour) for colour in ("red", "lime", "blue"))
MOVING: dict[str, Any] = {"save_all": True, "append_images": OTHERS, "duration": 9}
ORANGE = Image.new("RGB", SIZE, (250, 60, 20))
DEEP = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(*SIZE[::-1], 1).astype(np.uint16)
# How a PNG says what of it is clear, by its mode.
CLEAR: dict[str, Any] = {
    "RGBA": None, "LA": None, "1": 0, "L": 100, "RGB": (0, 0, 255), "P": bytes(range(256)),
}  # fmt: skip


def clear_png(mode: str) -> bytes:
    """Return a PNG in which some of the gradient is transparent."""
    picture = gradient()
    if CLEAR[mode] is None:
        picture.putalpha(gradient("L"))
        return saved(picture.convert(mode), "PNG")
    return saved(picture.convert(mode), "PNG", transparency=CLEAR[mode])


def on_white(data: bytes) -> Image.Image:
    """Return a transparent picture on white, all at once."""
    whole = Image.open(io.BytesIO(data)).convert("RGBA")
    assert whole.getextrema()[3] != (255, 255)
    white = Image.new("RGB", whole.size, "white")
    white.paste(whole, mask=whole)
    return white


def moving_png() -> bytes:
    """Return a PNG whose first frame is black, and smaller than the picture before it."""
    frames = chunk(b"acTL", struct.pack(">II", 1, 0))
    size_and_place = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 4, 2, 1, 1, 1, 10, 0, 0))
    frame = chunk(b"fdAT", b"\0\0\0\1" + zlib.compress(bytes(10)))
    return png((8, 6), (b"\0" + b"\x7f" * 8) * 6, frames, behind=size_and_place + frame)


def boxed(size: tuple[int, int], box: tuple[int, ...], colour: tuple[int, ...]) -> Image.Image:
    """Return a picture in white with a box of one colour."""
    white = Image.new("RGB", size, "white")
    white.paste(colour, box)
    return white


HALF_CLEAR = Image.new("RGBA", SIZE)
HALF_CLEAR.paste((0, 0, 200), (0, 0, 24, 32))
# Red, green, blue, alpha: BITMAPV4HEADER.
BMP_MASKS = struct.pack("<4I52x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
CLEAR_BMP = bmp(32, bytes([250, 20, 10, 0, 250, 20, 10, 255]), coding=3, more=BMP_MASKS)
# A file, its pixels, and how far from them those that come back may be on average.
PICTURES: dict[str, tuple[bytes, Any, float]] = {
    "JPEG, progressive": (saved(UPRIGHT, "JPEG", progressive=True), UPRIGHT, 20),
    "JPEG in CMYK": (saved(ORANGE.convert("CMYK"), "JPEG"), ORANGE, 12),
    "JPEG photograph": (CAT, Image.open(io.BytesIO(CAT)), 0),
    "JPEG with a scan longer than fill may be": (saved(LONG, "JPEG", **WELL["JPEG"]), LONG, 4),
    "JPEG before a film": (CAT + FILM, Image.open(io.BytesIO(CAT)), 0),
    "PNG before a film": (saved(UPRIGHT, "PNG") + FILM, UPRIGHT, 0),
    # The picture before an animation is for programs that show none.
    "PNG, moving, with another": (saved(RED, "PNG", default_image=True, **MOVING), OTHERS[0], 0),
    "PNG, moving, smaller": (moving_png(), boxed((8, 6), (1, 1, 5, 3), (0, 0, 0)), 0),
    "PNG of 16 bits a colour": (
        png((2, 1), b"\0\0\0\x80\0" + b"\xff" * 4 + b"\1\1\0\0", depth=16, colour=2),
        [[[0, 128, 255], [255, 1, 0]]],
        0,
    ),
    "PNG of 16 bits, clear": (
        png((2, 1), b"\0\x03\xe8\x03\xe9", chunk(b"tRNS", b"\x03\xe8"), depth=16),
        [[WHITE, (4, 4, 4)]],
        0,
    ),
    "GIF, smaller frame": (
        placed(Image.new("RGB", (8, 8), (0, 0, 204)).convert("P"), (20, 10), (4, 2)),
        boxed((20, 10), (4, 2, 12, 10), (0, 0, 204)),
        0,
    ),
    "GIF, clear": (saved(HALF_CLEAR, "GIF"), boxed(SIZE, (0, 0, 24, 32), (0, 0, 200)), 0),
    "BMP, clear": (CLEAR_BMP, [[WHITE, COLOURS[1]]], 0),
    "BMP, top down": (bmp(8, b"\0\1\0\0\1\0\0\0", height=-2), [COLOURS, COLOURS[::-1]], 0),
    "BMP in runs of 4 bits": (bmp(4, b"\2\x01\0\0", coding=2), [COLOURS], 0),
    "BMP in runs of 8 bits": (bmp(8, RUNS * 2, height=2, coding=1), [COLOURS] * 2, 0),
    "TIFF in jpeg": (saved(UPRIGHT, "TIFF", compression="jpeg", quality=95), UPRIGHT, 20),
    "TIFF in LA": (saved(gradient("LA"), "TIFF"), gradient("L"), 0),
    "TIFF in RGBA": (saved(gradient("RGBA"), "TIFF"), UPRIGHT, 0),
    "TIFF in CMYK": (saved(gradient("CMYK"), "TIFF"), UPRIGHT, 1),
}
for name in ("tiff_lzw", "tiff_deflate", "packbits"):
    PICTURES[f"TIFF in {name}"] = saved(UPRIGHT, "TIFF", compression=name), UPRIGHT, 0
for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"):
    PICTURES[f"{kind}, moving"] = saved(RED, kind, **MOVING), RED, 15
for kind in ("PNG", "TIFF"):
    deep = saved(Image.fromarray(DEEP[..., 0]), kind)
    PICTURES[f"{kind} of 16 bits"] = deep, np.rint(DEEP / 257), 0
for bits, row in BMP_ROWS.items():
    PICTURES[f"BMP of {bits} bits"] = bmp(bits, row), [COLOURS], 4 if bits == 16 else 0
for kind, mode in itertools.product(("BMP", "GIF", "PNG", "TIFF"), ("1", "L", "P", "RGB")):
    if (kind, mode) != ("GIF", "RGB"):
        PICTURES[f"{kind} in {mode}"] = saved(gradient(mode), kind), gradient(mode), 0
for mode in CLEAR:
    PICTURES[f"PNG in {mode}, clear"] = clear_png(mode), on_white(clear_png(mode)), 0
clear_webp = saved(Image.open(io.BytesIO(clear_png("RGBA"))), "WEBP", **WELL["WEBP"])
PICTURES["WEBP, clear"] = clear_webp, on_white(clear_webp), 0
for kind, orientation in itertools.product(("JPEG", "PNG", "WEBP", "AVIF", "TIFF"), AS_STORED):
    how = {"exif": exif(orientation), **WELL.get(kind, {})}
    data = saved(AS_STORED[orientation], kind, **how)
    PICTURES[f"{kind} turned, {orientation}"] = data, UPRIGHT, 3


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_comes_back_upright_and_in_its_colours(name: str) -> None:
    data, expected, worst = PICTURES[name]
    if isinstance(expected, Image.Image):
        expected = pixels(expected.convert("RGB"))
    assert np.abs(pixels(decoded(data)) - expected).mean() <= worst


GARBAGE = [
    b"",
    b"\0",
    b"garbage",
    b"II*\0\xff\xff\xff\xff",
    b"MM\0*\0\0\0\x08\xff\xff",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\xff\xff\0\0",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0ab\0\0\0\0\0\0",
]


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the EXIF data
@pytest.mark.parametrize(
    "how",
    [
        *({"exif": exif(orientation)} for orientation in (0, 9, 65535)),
        *({"exif": b"Exif\0\0" + garbage, "icc_profile": garbage} for garbage in GARBAGE),
        {"xmp": b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'},
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_xmp_and_garbage_for_exif_and_profile_leave_a_picture_as_it_is(
    kind: str, how: dict[str, Any]
) -> None:
    if kind != "AVIF" or "xmp" in how:  # Pillow writes no garbage into an AVIF
        assert decoded(saved(UPRIGHT, kind, **how)).size == SIZE


def exif_of(size: int) -> bytes:
    """Return EXIF data of this many bytes that ends with the orientation 6."""
    start, entry = b"II*\0", struct.pack("<HHHIIxxxx", 1, 0x0112, 3, 1, 6)
    place = size - len(entry) - len(b"Exif\0\0")
    return b"Exif\0\0" + (start + struct.pack("<I", place)).ljust(place, b"\0") + entry


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the EXIF data
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_data_is_read_up_to_the_limit(kind: str) -> None:
    most = limits.LIMIT_EXIF_BYTES
    assert decoded(saved(UPRIGHT, kind, exif=exif_of(most))).size == SIZE[::-1]
    assert decoded(saved(UPRIGHT, kind, exif=exif_of(most + 12))).size == SIZE


@pytest.mark.parametrize("band_pixels", [1, SIZE[0] * 5])
@pytest.mark.parametrize("mode", CLEAR)
def test_no_copy_of_a_transparent_picture_is_larger_than_a_band_which_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, mode: str, band_pixels: int
) -> None:
    sizes: list[tuple[int, int]] = []
    genuine = Image.Image.convert

    def convert(picture: Image.Image, *how: Any) -> Image.Image:
        sizes.append(picture.size)
        return genuine(picture, *how)

    data, expected, _ = PICTURES[f"PNG in {mode}, clear"]
    monkeypatch.setattr("imgserve.pictures.pixels.BAND_PIXELS", band_pixels)
    monkeypatch.setattr(Image.Image, "convert", convert)
    assert (pixels(decoded(data)) == pixels(expected)).all()
    assert max(sizes) == (SIZE[0], max(1, band_pixels // SIZE[0]))


# Limits, from both sides


def test_run_lengths_are_decoded_up_to_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(number: int) -> bytes:
        return bmp(8, RUNS * number, height=number, coding=1)

    few, most = 30, 2000  # reads of the header, and of all
    monkeypatch.setattr(limits, "LIMIT_RLE_READS", most)
    high = (most - few) // 6  # two reads for each pair of bytes
    assert decoded(rows(high)).height == high
    cut_into_parts(rows(most // 6 + 1))
    monkeypatch.setattr(decoding, "LIMIT_RLE_PIXELS", 8)
    assert decoded(rows(4)).size == (2, 4)
    monkeypatch.setattr(decoding, "LIMIT_RLE_PIXELS", 7)
    refused(rows(4), TooManyPixels, "has 8 pixels")


def test_tiles_may_be_larger_than_a_small_picture_but_not_by_any_amount() -> None:
    def tiled(side: int) -> bytes:
        tiles = [tiff_tag(322, 4, side), tiff_tag(323, 4, side), tiff_tag(324, 4, 8)]
        return tiff(*tiles, rows=bytes(256)).replace(tiff_tag(273, 4, 8), tiff_tag(999, 4, 8))

    assert decoded(tiled(16)).size == (2, 2)
    refused(tiled(65536), DamagedPicture, "in tiles larger than the picture")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"])
def test_exactly_the_pixel_limit_passes_and_one_less_is_refused(kind: str) -> None:
    data = saved(UPRIGHT, kind)
    assert decode(data, limit_pixels=SIZE[0] * SIZE[1])[0].size == SIZE
    with pytest.raises(TooManyPixels) as caught:
        decode(data, limit_pixels=SIZE[0] * SIZE[1] - 1)
    assert str(caught.value) == (
        "The picture has 1536 pixels (48 x 32); at most 1535 pixels are accepted: "
        "use a smaller one."
    )


def test_a_limit_above_pillows_own_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decoded(saved(UPRIGHT, "PNG")).size == SIZE


def test_the_longest_side_passes_and_one_more_is_refused() -> None:
    most = decoding.LIMIT_SIDE_PIXELS
    for size, longer in (((most, 1), (most + 1, 1)), ((1, most), (1, most + 1))):
        assert decoded(saved(Image.new("L", size), "PNG")).size == size
        too_long = saved(Image.new("L", longer), "PNG")
        refused(too_long, TooManyPixels, "at most 65535 are accepted on a side")


# What breaks off


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
BITS = np.random.default_rng(0).integers(0, 2, 128, dtype=np.uint8).tobytes()
NOISY_RUNS = b"".join(b"\1%c\1%c\0\0" % pair for pair in zip(BITS[::2], BITS[1::2], strict=True))
CUT = {
    "JPEG": saved(NOISE, "JPEG"),
    "JPEG with restart marks": saved(NOISE, "JPEG", restart_marker_rows=1),
    "PNG": saved(NOISE, "PNG"),
    "PNG with a palette": saved(NOISE.convert("P"), "PNG"),
    "GIF": saved(NOISE, "GIF", interlace=0),
    "GIF with a clear colour": saved(NOISE.convert("P"), "GIF", interlace=0, transparency=7),
    "BMP": saved(NOISE, "BMP"),
    "BMP in runs": bmp(8, NOISY_RUNS, height=64, coding=1),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_picture_that_breaks_off_is_completed_where_half_of_it_is_there(kind: str) -> None:
    whole, name = CUT[kind], kind.partition(" ")[0]
    expected = pixels(decoded(whole))
    found = completed(start_of(whole, 0.8))
    same = (pixels(found) == expected).all(axis=(1, 2))
    assert 0.6 <= same.mean() < 0.9
    assert same[-1 if name == "BMP" else 0]
    if kind == "PNG":  # what is missing, and not close to what is there, is grey
        assert (pixels(found)[-4:] == 127).all()
    refused(start_of(whole, 0.35), DamagedPicture, f"Too little of this {name} picture is there")


def test_of_a_frame_on_a_larger_canvas_half_of_the_frame_is_enough() -> None:
    whole = placed(NOISE.convert("P"), (3 * NOISE.width, NOISE.height), (NOISE.width, 0))
    found = completed(start_of(whole, 0.7))
    assert (pixels(found)[:, : NOISE.width] == 255).all()
    refused(start_of(whole, 0.35), DamagedPicture, "Too little")


@pytest.mark.parametrize("end", [1, 2])
def test_a_jpeg_that_lacks_its_last_bytes_is_whole_but_for_them(end: int) -> None:
    found = completed(CAT[:-end])
    assert (pixels(found) == pixels(decoded(CAT))).all()


def test_a_progressive_jpeg_is_there_with_its_first_scan() -> None:
    whole = saved(Image.open(io.BytesIO(CAT)), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", whole)]
    tables = [match.start() for match in re.finditer(b"\xff\xc4", whole)]
    later = [start for start in tables if start > scans[0]]
    for end in (scans[1] + 50, scans[1], scans[1] + 5, scans[2] + 5, later[0] + 9, later[2] + 9):
        found = completed(whole[:end])
        assert np.abs(pixels(found) - pixels(decoded(CAT))).mean() < 20
    refused(whole[: scans[0] + 50], DamagedPicture, "Too little of this JPEG")


def interlaced_png(picture: Image.Image) -> bytes:
    """Return a PNG in Adam7 order (PNG specification, 8.2), which Pillow does not write."""
    values = np.asarray(picture)
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    passes = [values[y::down, x::right] for x, y, right, down in [*steps, (0, 1, 1, 2)]]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    return png(picture.size, rows, colour=2, interlace=1)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_an_interlaced_picture_that_breaks_off_is_coarse_where_it_is_incomplete(kind: str) -> None:
    smooth = UPRIGHT.resize((96, 64))
    whole = interlaced_png(smooth) if kind == "PNG" else saved(smooth, "GIF", interlace=1)
    expected = pixels(decoded(whole))
    found = completed(start_of(whole, 0.7))
    assert 0 < np.abs(pixels(found) - expected).mean() < 5


# Pictures built to be slow


def with_scans(number: int) -> bytes:
    whole = saved(Image.new("L", SIZE, 128), "JPEG", progressive=True)
    start, scan = whole[:-2], whole[whole.rindex(b"\xff\xda") : -2]
    return start + scan * (number - start.count(b"\xff\xda")) + b"\xff\xd9"


def jpeg_with(segments: bytes) -> bytes:
    return GREY[:2] + segments + GREY[2:]


def segment(kind: int, data: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", 2 + len(data)) + data


def with_tables(number: int) -> bytes:
    tables = (bytes([0x10 + index % 4]) + b"\0\1" * 64 for index in range(number))
    return jpeg_with(segment(0xDB, b"".join(tables)))


def with_notes(number: int) -> bytes:
    counts = [5000] * (number // 5000) + [number % 5000]  # as many as a segment holds
    parts = (b"Photoshop 3.0\0" + b"8BIM\0\1\0\0\0\0\0\0" * count for count in counts)
    return jpeg_with(b"".join(segment(0xED, part) for part in parts))


GREY = saved(Image.new("L", SIZE, 128), "JPEG")
GREY_SEGMENTS = len(re.findall(rb"\xff[\xc0\xc4\xda\xdb\xe0]", GREY))
EXIF_SEGMENT = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + bytes(6))
ROWS = bytes((SIZE[0] + 1) * SIZE[1])
# What there may be too many of: how a file has a number of them, and the limit.
SLOW: dict[str, tuple[Callable[[int], bytes], int]] = {
    "scans": (with_scans, limits.LIMIT_SCANS),
    "segments": (
        lambda number: jpeg_with(segment(0xFE) * (number - GREY_SEGMENTS)),
        limits.LIMIT_SEGMENTS,
    ),
    "fill bytes": (lambda number: jpeg_with(b"\xff" * (number - 2)), limits.LIMIT_FILL_BYTES),
    "tables": (with_tables, 4),  # a JPEG has no more
    "EXIF": (lambda number: jpeg_with(EXIF_SEGMENT * number), limits.LIMIT_EXIF_SEGMENTS),
    "notes": (with_notes, limits.LIMIT_NOTES),
    "chunks": (lambda number: png(SIZE, ROWS, chunk(b"teXt") * (number - 3)), limits.LIMIT_CHUNKS),
    "values": (
        lambda number: tiff(tiff_tag(40_000, 3, 8, number), rows=bytes(2 * number + 4)),
        limits.LIMIT_TIFF_VALUES,
    ),
}


@pytest.mark.parametrize("part", SLOW)
def test_as_many_parts_as_the_limit_pass_and_one_more_is_refused(part: str) -> None:
    with_parts, most = SLOW[part]
    assert decoded(with_parts(most)).size in {SIZE, (2, 2)}
    cut_into_parts(with_parts(most + 1), "(JPEG|PNG|TIFF)")


def test_scans_times_pixels_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data, area = with_scans(12), SIZE[0] * SIZE[1]
    monkeypatch.setattr(decoding, "LIMIT_SCANNED_PIXELS", 12 * area)
    assert decoded(data).size == SIZE
    monkeypatch.setattr(decoding, "LIMIT_SCANNED_PIXELS", 12 * area - 1)
    cut_into_parts(data)


USELESS = {
    "text": chunk(b"tEXt", b"Comment\0cat"),
    "text of 2 MiB": chunk(b"iTXt", b"a\0\0\0\0\0" + b"x" * 2**21),
    "bomb": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24), 9)),
    "garbage for a profile": chunk(b"iCCP", b"a\0\0garbage"),
    "unknown": chunk(b"caTs"),
    "wrong checksum": chunk(b"pHYs", bytes(9))[:-1] + b"!",
    "animation without frames": chunk(b"acTL", bytes(8)),
    "animation cut short": chunk(b"acTL", bytes(3)),
    "animation whose frame is damaged": chunk(b"acTL", b"\0\0\0\1\0\0\0\0")
    + chunk(b"fcTL", bytes(26))[:-1]
    + b"!",
    "transparency with a wrong checksum": chunk(b"tRNS", b"\0\x80")[:-1] + b"!",
}


@pytest.mark.parametrize("kind", USELESS)
def test_png_chunks_that_do_not_concern_pixels_are_left_aside(kind: str) -> None:
    plain = png(SIZE, ROWS)
    for data in (png(SIZE, ROWS, USELESS[kind]), png(SIZE, ROWS, behind=USELESS[kind])):
        assert (pixels(decoded(data)) == pixels(decoded(plain))).all()
        assert limits.essential_png(data) == plain


GIF_PARTS = {  # before the parts, a part, behind them; and how often Pillow reads for a part
    "comment blocks": (b"!\xfe", b"\1x", b"\0", 2),
    "extension blocks": (b"!\1\1x", b"\1x", b"\0", 2),
    "comments": (b"", b"!\xfe\0", b"", 3),
    "empty extensions": (b"", b"!\1\0\0", b"", 4),
    "garbage": (b"", b"x", b"", 1),
}


def gif_with(parts: bytes) -> bytes:
    """Return a GIF with more parts before its first frame, behind header and palette."""
    whole = saved(gradient("L"), "GIF")
    start = whole.index(b",", 13 + 3 * 256)
    return whole[:start] + parts + whole[start:]


@pytest.mark.parametrize("kind", GIF_PARTS)
def test_a_gif_in_a_few_parts_too_many_is_refused(kind: str) -> None:
    before, part, behind, reads = GIF_PARTS[kind]
    few = 20  # reads for the rest of the file
    most = limits.LIMIT_READS // reads
    found = decoded(gif_with(before + part * (most - few) + behind))
    assert (pixels(found) == pixels(gradient("L").convert("RGB"))).all()
    cut_into_parts(gif_with(before + part * (most + 1) + behind), "GIF")


def test_a_gif_may_be_as_large_as_a_picture_can_be_in_blocks_as_encoders_write_them() -> None:
    block = b"\xff" + b"x" * 255
    blocks = block * (10 * 2**20 // len(block))
    assert decoded(gif_with(b"!\xfe" + blocks + b"\0")).size == SIZE


# What cannot be decoded


LZW = saved(UPRIGHT, "TIFF", compression="tiff_lzw")
GREY_16 = saved(Image.new("I;16", SIZE), "TIFF")
WEB_PAGES = [
    *(b"\xef\xbb\xbf \r\n<HTML lang=de>", b"<!-- a > b --> <!doctype html>", b"<!-- without end"),
    *(b"<script>", b"<title>Cat", b"<a href=/>", b"<?xml version='1.0'?><!DOCTYPE html>"),
]
NO_PICTURES = [
    *(b"\0\0\0\x18ftypmp42\0\0", b"\0", b"not found", b"%!PS-Adobe-3.0 EPSF-3.0"),
    *(b"P6 1 1 255 abc", b"RIFF\0\0\0\0WAVEfmt "),
]
STARTS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8 "]
HUGE = [
    png((60000, 60000), b"", colour=2),
    png((2**31 - 1, 2**31 - 1), b"", colour=2),
    placed(RED.convert("P"), (65535, 65535), (0, 0)),
    b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
    b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
    + (16383).to_bytes(3, "little") * 2,
]  # fmt: skip
# Files, by what is said of them.
NAMED: dict[type[HttpError], dict[str, list[bytes]]] = {
    UnsupportedFormat: {
        "This is a web page (HTML), not a picture: paste the address of the picture itself.": [
            *(b"<!DOCTYPE html><html>", *WEB_PAGES),
        ],
        "like a drawing (SVG): send a JPEG, PNG, WebP, GIF, BMP, AVIF or TIFF picture.": [
            *(b"<svg xmlns=...", b"<?xml version='1.0'?><!-- made by hand --> <svg"),
        ],
        "This looks like a document in XML: send a": [b"<?xml version='1.0'?><feed>"],
        "This looks like a PDF document: send a": [b"%PDF-1.7"],
        "This looks like an icon (ICO): send a": [b"\0\0\1\0\1\0"],
        "This looks like a JPEG XL picture: send a": [b"\xff\x0a\xfa"],
        "This looks like JSON: send a": [b'{"error": 404}'],
        "This is a HEIC photo, as iPhones make them, which is not accepted: save or export it as": [
            *(b"\0\0\0\x18ftypheic\0\0", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
        ],
        "The picture is empty: choose it again.": [b""],
        "This is not a picture of an accepted format: send a": NO_PICTURES,
        "coded in a way that browsers do not show": [
            GREY.replace(b"\xff\xc0", bytes([0xFF, marker])) for marker in (0xC3, 0xC9, 0xCA)
        ],
        "not the colours of a picture (mode F): save": [saved(Image.new("F", SIZE), "TIFF")],
        "not the colours of a picture (mode I): save": [saved(Image.new("I", SIZE), "TIFF")],
        "not the colours of a picture (mode LAB): save": [saved(Image.new("LAB", SIZE), "TIFF")],
        "not the colours of a picture (mode I;16): save": [  # Pillow takes both for another grey
            GREY_16.replace(tiff_tag(262, 3, 1), tiff_tag(262, 3, 0)),  # white where it is 0
            GREY_16.replace(tiff_tag(258, 3, 16), tiff_tag(258, 3, 12)),
        ],
        "an unusual way (zstd): save": [LZW.replace(tiff_tag(259, 3, 5), tiff_tag(259, 3, 50000))],
        "of an unusual kind: save": [saved(UPRIGHT, "TIFF", big_tiff=True)],
    },
    TooManyPixels: {"1 megapixels": HUGE},
    DamagedPicture: {
        "data is damaged or incomplete: save the picture": [
            *STARTS,
            *(start_of(saved(NOISE, kind), 0.9) for kind in ("WEBP", "AVIF", "TIFF")),
        ],
        "data ends before its picture": [jpeg_with(b"\xff\xd9" + EXIF_SEGMENT * 1000)],
        "data is cut into more parts than any": [CAT[:2] + b"\xff" * 1_000_000],
    },
}


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("error", "sentence", "data"),
    [
        (error, sentence, data)
        for error, sentences in NAMED.items()
        for sentence, files in sentences.items()
        for data in files
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:60]),
)
def test_what_cannot_be_decoded_is_refused_and_named(
    error: type[HttpError], sentence: str, data: bytes
) -> None:
    with pytest.raises(error) as caught:
        decode(data, limit_pixels=LIMIT)
    assert sentence in str(caught.value)
    assert "incomplete" not in sentence or caught.value.__cause__ is not None


# Any data at all


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a real file of which some parts are lost, overwritten, doubled or more."""
    data = bytearray(draw(st.sampled_from(ORIGINALS)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        end = draw(st.sampled_from([start, start + 1, start + 8, start + 64, len(data)]))
        part = bytes(data[start:end])
        data[start:end] = draw(st.one_of(st.just(b""), st.just(part * 2), st.binary(max_size=40)))
    return bytes(data)


ORIGINALS = [data for data, *_ in PICTURES.values() if len(data) < 10_000]


STARTED = st.builds(
    bytes.__add__, st.sampled_from([b"", b"GIF89a", b"BM", *STARTS[:2]]), st.binary()
)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about odd metadata
@settings(deadline=None, max_examples=400)
@given(mutated() | STARTED)
def test_any_data_at_all_gives_a_picture_or_a_deliberate_error(data: bytes) -> None:
    with contextlib.suppress(HttpError):
        picture, _ = decode(data, limit_pixels=LIMIT)
        assert picture.mode == "RGB"
        assert picture.width * picture.height <= LIMIT


def test_a_large_jpeg_is_decoded_smaller_but_keeps_its_least_side() -> None:
    large, half, quarter, eighth = (960, 721), (480, 361), (240, 181), (120, 91)
    data = saved(UPRIGHT.resize(large), "JPEG")
    sizes = {side: decoded(data, least_side=side).size for side in (None, 361, 360, 180, 1)}
    assert sizes == {None: large, 361: large, 360: half, 180: quarter, 1: eighth}
    for kind in ("PNG", "WebP", "GIF", "BMP", "TIFF"):  # are decoded whole
        assert decoded(saved(UPRIGHT.resize(large), kind), least_side=180).size == large


INCOMPLETE = {"jpeg_no_eoi.jpg", "png_idat_cut_20.png", "progressive_minus_30pct.jpg"}


@needs(CASES)
def test_files_that_people_sent_are_decoded_or_named() -> None:
    whole, refused = set(), {}
    for path in CASES.iterdir():
        try:
            _, incomplete = decode(path.read_bytes(), limit_pixels=52_000_000, least_side=768)
        except HttpError as exc:
            refused[path.name] = str(exc)
        else:
            assert incomplete == (path.name in INCOMPLETE)
            whole.add(path.name)
    assert whole >= INCOMPLETE | {"cat.jfif", "photo.avif", "phone_8160x6144.jpg"}
    assert set(refused) == {"page_comment_first.html", "slow-50-kB.jpg", "slow-601-bytes.jpg"}
