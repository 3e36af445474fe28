"""Decoding strangers' pictures."""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgserve.errors import DamagedPicture, HttpError, TooManyPixels, UnsupportedFormat
from imgserve.pictures import colour, decode_limits
from imgserve.pictures import decode as decoding
from imgserve.pictures.decode import decode
from tests.shared import CASES, needs

LIMIT = 1_000_000
WHITE = (255, 255, 255)
CAT = Path("imgserve/samples/cat.jpg").read_bytes()
SIZE = (48, 32)


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.copy().save(file, kind, **how)  # a copy: saving leaves settings behind
    return file.getvalue()


def decoded(data: bytes, **how: Any) -> Image.Image:
    picture, incomplete = decode(data, limit_pixels=LIMIT, **how)
    assert picture.mode == "RGB"
    assert not incomplete
    return picture


def refused(data: bytes, error: type[HttpError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        decode(data, limit_pixels=LIMIT)


def cut_into_parts(data: bytes, kind: str = "") -> None:
    refused(data, DamagedPicture, f"{kind} data is cut into more parts")


def completed(data: bytes) -> Image.Image:
    """Return a picture of which only a part is there."""
    picture, incomplete = decode(data, limit_pixels=LIMIT)
    assert incomplete
    return picture


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
    size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: bytes, interlace: int = 0
) -> bytes:
    """Return a PNG file, made by hand where Pillow cannot write it."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


# Formats


@pytest.mark.parametrize(
    ("kind", "how", "worst"),
    [
        *((kind, {}, 0) for kind in ("PNG", "BMP", "TIFF")),
        *((kind, {}, 20) for kind in ("WEBP", "JPEG", "GIF")),
        ("WEBP", {"lossless": True, "exact": True}, 0),
        ("JPEG", {"progressive": True}, 20),
        ("AVIF", {"quality": 100}, 2),
        *(("TIFF", {"compression": n}, 0) for n in ("tiff_lzw", "tiff_deflate", "packbits")),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 20),
    ],
)
def test_a_picture_comes_back_as_well_as_its_format_keeps_it(
    kind: str, how: dict[str, Any], worst: float
) -> None:
    found = decoded(saved(gradient(), kind, **how))
    assert np.abs(pixels(found) - pixels(gradient())).mean() <= worst


def test_a_real_photograph_is_decoded_as_pillow_does() -> None:
    expected = Image.open(io.BytesIO(CAT)).convert("RGB")
    assert (pixels(decoded(CAT)) == pixels(expected)).all()


def test_a_jpeg_with_several_pictures_gives_the_first() -> None:
    data = saved(gradient(), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert decoded(data).size == SIZE


@pytest.mark.parametrize("data", [CAT, saved(gradient(), "PNG")], ids=["JPEG", "PNG"])
def test_a_picture_with_a_film_behind_it_is_decoded(data: bytes) -> None:
    film = np.random.default_rng(0).bytes(1_000_000)  # holds what looks like a scan 15 times
    assert (pixels(decoded(data + film)) == pixels(decoded(data))).all()


FRAMES = [Image.new("RGB", SIZE, colour) for colour in ("red", "lime", "blue")]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    how = {} if kind == "TIFF" else {"duration": 9}
    data = saved(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], **how)
    assert np.abs(pixels(decoded(data))[5, 5] - (255, 0, 0)).max() < 15


def test_an_animated_png_gives_its_first_frame_not_the_picture_before_it() -> None:
    data = saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:], default_image=True)
    assert decoded(data).getpixel((5, 5)) == (0, 255, 0)


def test_the_first_frame_of_an_animated_png_lies_on_white_without_the_picture_before_it() -> None:
    whole, end = png((8, 6), 8, 0, (b"\0" + b"\x7f" * 8) * 6), chunk(b"IEND")
    size_and_place = struct.pack(">IIIIIHHBB", 0, 4, 2, 1, 1, 1, 10, 0, 0)
    frame = b"\0\0\0\1" + zlib.compress(bytes(10))
    header, picture = whole[:33], whole[33 : -len(end)]
    moving = chunk(b"acTL", struct.pack(">II", 1, 0)), chunk(b"fcTL", size_and_place)
    found = decoded(header + moving[0] + picture + moving[1] + chunk(b"fdAT", frame) + end)
    black = [[1 <= y < 3 and 1 <= x < 5 for x in range(8)] for y in range(6)]
    assert (pixels(found)[:, :, 0] == np.where(black, 0, 255)).all()


def placed(frame: Image.Image, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """Return a GIF with a frame somewhere on a larger canvas, whose background is not white."""
    whole = saved(frame, "GIF", interlace=0)
    picture = 13 + 3 * 2 ** ((whole[10] & 7) + 1)  # behind the header and the palette
    header = whole[:6] + struct.pack("<HHBB", *canvas, whole[10], 1) + whole[12:picture]
    return header + b"," + struct.pack("<HH", *at) + whole[picture + 5 :]


def test_the_first_frame_of_a_gif_lies_on_white() -> None:
    found = decoded(placed(Image.new("RGB", (8, 8), (0, 0, 204)).convert("P"), (20, 10), (4, 2)))
    assert found.size == (20, 10)
    assert [found.getpixel(at) for at in ((3, 2), (4, 2), (11, 9), (12, 9), (4, 1))] == [
        WHITE, (0, 0, 204), (0, 0, 204), WHITE, WHITE,
    ]  # fmt: skip


# BMP


COLOURS = [(200, 30, 40), (10, 20, 250)]
BMP_ROWS = {  # a row of the two colours, or of their indices, padded to 4 bytes
    1: b"\x40\0\0\0",
    4: b"\x01\0\0\0",
    8: b"\0\1\0\0",
    16: struct.pack("<2H", 25 << 10 | 4 << 5 | 5, 1 << 10 | 2 << 5 | 31),
    24: bytes([40, 30, 200, 250, 20, 10, 0, 0]),
    32: bytes([40, 30, 200, 0, 250, 20, 10, 0]),
}


def bmp(bits: int, rows: bytes, *, height: int, compression: int = 0, width: int = 2) -> bytes:
    """Return a BMP file with a palette of the two colours, where it has one."""
    palette = b"".join(bytes([b, g, r, 0]) for r, g, b in COLOURS) if bits <= 8 else b""
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 2, 0)
    return struct.pack("<2sIII", b"BM", start + len(rows), 0, start) + header + palette + rows


@pytest.mark.parametrize("bits", BMP_ROWS)
@pytest.mark.parametrize("is_top_down", [True, False])
def test_a_bmp_is_decoded_at_any_depth_and_either_way_up(bits: int, is_top_down: bool) -> None:
    row = BMP_ROWS[bits]
    rows = [row, bytes(len(row))]  # the second is black, or the first colour
    data = bmp(bits, b"".join(rows[:: 1 if is_top_down else -1]), height=-2 if is_top_down else 2)
    second = COLOURS[0] if bits <= 8 else (0, 0, 0)
    worst = 8 if bits == 16 else 0  # five bits of each colour
    assert np.abs(pixels(decoded(data)) - [COLOURS, [second, second]]).max() <= worst


RLE = {8: (1, b"\1\0\1\1\0\0"), 4: (2, b"\2\x01\0\0")}  # compression, a row of both colours


@pytest.mark.parametrize("bits", RLE)
def test_a_run_length_encoded_bmp_is_decoded(bits: int) -> None:
    compression, row = RLE[bits]
    found = decoded(bmp(bits, row * 2, height=2, compression=compression))
    assert pixels(found).tolist() == [[list(colour) for colour in COLOURS]] * 2


def test_a_run_length_encoded_bmp_that_breaks_off_is_completed() -> None:
    whole = bmp(8, RLE[8][1] * 32, height=32, compression=1)
    found = completed(whole[: -6 * 8])
    assert (pixels(found)[-24:] == pixels(decoded(whole))[-24:]).all()
    refused(whole[: -6 * 20], DamagedPicture, "Too little of this BMP")


def test_run_lengths_are_decoded_up_to_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(number: int) -> bytes:
        return bmp(8, RLE[8][1] * number, height=number, compression=1)

    few, most = 30, 2000  # reads of the header, and of all
    monkeypatch.setattr(decode_limits, "LIMIT_RLE_READS", most)
    high = (most - few) // 6  # two reads for each pair of bytes
    assert decoded(rows(high)).height == high
    cut_into_parts(rows(most // 6 + 1))
    monkeypatch.setattr(decoding, "LIMIT_RLE_PIXELS", 8)
    assert decoded(rows(4)).size == (2, 4)
    monkeypatch.setattr(decoding, "LIMIT_RLE_PIXELS", 7)
    refused(rows(4), TooManyPixels, "has 8 pixels")


# TIFF


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_tiff_is_decoded_in_every_mode_of_colours(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(gradient("L")).astype(np.uint16) * 257)
    else:
        picture = gradient().convert(mode)
    expected = gradient("L") if mode in {"I;16", "LA"} else picture
    assert (
        np.abs(pixels(decoded(saved(picture, "TIFF"))) - pixels(expected.convert("RGB"))).max() <= 1
    )


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_a_tiff_of_measurements_is_refused(mode: str) -> None:
    data = saved(Image.new(mode, SIZE), "TIFF")
    refused(data, UnsupportedFormat, f"not the colours of a picture .mode {mode}.")


@pytest.mark.parametrize(("tag", "before", "after"), [(262, 1, 0), (258, 16, 12)])
def test_a_tiff_of_grey_that_pillow_takes_for_another_is_refused(
    tag: int, before: int, after: int
) -> None:
    data = saved(Image.new("I;16", SIZE), "TIFF")
    changed = data.replace(tiff_tag(tag, 3, before), tiff_tag(tag, 3, after))
    assert changed != data
    refused(changed, UnsupportedFormat, "not the colours of a picture")


@pytest.mark.parametrize(
    ("kind", "number"), [("zstd", 50000), ("webp", 50001), ("tiff_thunderscan", 32809)]
)
def test_a_tiff_in_an_unusual_compression_is_refused(kind: str, number: int) -> None:
    data = saved(gradient(), "TIFF", compression="tiff_lzw")
    data = data.replace(tiff_tag(259, 3, 5), tiff_tag(259, 3, number))
    refused(data, UnsupportedFormat, f"unusual way .{kind}.: save it as PNG or JPEG")


def test_a_big_tiff_is_refused() -> None:
    data = saved(gradient(), "TIFF", big_tiff=True)
    refused(data, UnsupportedFormat, "of an unusual kind: save it as PNG or JPEG")


def tiff_tag(number: int, kind: int, value: int, count: int = 1) -> bytes:
    return struct.pack("<HHII", number, kind, count, value)


def tiff(*tags: bytes, rows: bytes = b"\1\2\3\4") -> bytes:
    """Return a grey TIFF of 2 x 2 pixels, with more tags behind its own."""
    own = [(256, 3, 2), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (278, 3, 2)]
    entries = [*(tiff_tag(*tag) for tag in own), tiff_tag(273, 4, 8), *tags]
    start = 8 + len(rows)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + rows + directory


def test_as_many_values_in_a_tag_of_a_tiff_as_the_limit_pass_and_one_more_is_refused() -> None:
    most = decode_limits.LIMIT_TIFF_VALUES
    room = b"\1\2\3\4" + bytes(2 * most)
    assert decoded(tiff(tiff_tag(40_000, 3, 8, most), rows=room)).size == (2, 2)
    cut_into_parts(tiff(tiff_tag(40_000, 3, 8, most + 1), rows=room), "TIFF")


def test_tiles_may_be_larger_than_a_small_picture_but_not_by_any_amount() -> None:
    def tiled(side: int) -> bytes:
        tiles = [tiff_tag(322, 4, side), tiff_tag(323, 4, side), tiff_tag(324, 4, 8)]
        return tiff(*tiles, rows=bytes(256)).replace(tiff_tag(273, 4, 8), tiff_tag(999, 4, 8))

    assert decoded(tiled(16)).size == (2, 2)
    refused(tiled(65536), DamagedPicture, "in tiles larger than the picture")


# Modes


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG"])
def test_black_and_white_grey_and_palette_become_rgb(mode: str, kind: str) -> None:
    picture = gradient(mode)
    assert (pixels(decoded(saved(picture, kind))) == pixels(picture.convert("RGB"))).all()


def test_a_cmyk_jpeg_has_its_colours_the_right_way_round() -> None:
    picture = Image.new("RGB", SIZE, (250, 60, 20)).convert("CMYK")
    assert np.abs(pixels(decoded(saved(picture, "JPEG"))) - (250, 60, 20)).max() < 12


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint16)
    data = saved(Image.fromarray(values), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    assert np.abs(pixels(decoded(data))[..., 0] - values / 257).max() <= 0.5


def test_sixteen_bits_of_each_colour_are_scaled() -> None:
    rows = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 257, 0)
    assert pixels(decoded(png((2, 1), 16, 2, rows))).tolist() == [[[0, 128, 255], [255, 1, 0]]]


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("P", "PNG")]
)
def test_transparent_is_white_and_half_transparent_is_between(mode: str, kind: str) -> None:
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    picture.paste((0, 0, 0, 128), (0, 0, 16, 32))
    picture.paste((0, 0, 0, 255), (16, 0, 32, 32))
    method = Image.Quantize.FASTOCTREE
    picture = picture.quantize(8, method) if mode == "P" else picture.convert(mode)
    how = {"lossless": True} if kind == "WEBP" else {}
    found = pixels(decoded(saved(picture, kind, **how)))
    assert np.abs(found[10, [8, 24, 40], 0] - (127, 0, 255)).max() <= 2


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "clear", "expected"),
    [
        (8, 0, b"\0\x0a\x14", b"\0\x0a", [255, 20]),
        (1, 0, b"\0\x40", b"\0\1", [0, 255]),
        (8, 2, b"\0\x0a\x14\x1e\x28\x32\x3c", b"\0\x0a\0\x14\0\x1e", [255, 40]),
        (16, 0, b"\0" + struct.pack(">3H", 1000, 1001, 65535), b"\x03\xe8", [255, 4, 255]),
    ],
)
def test_the_one_transparent_colour_of_a_png_is_white_and_no_other(
    depth: int, colour: int, rows: bytes, clear: bytes, expected: list[int]
) -> None:
    data = png((len(expected), 1), depth, colour, rows, chunk(b"tRNS", clear))
    assert pixels(decoded(data))[0, :, 0].tolist() == expected


def test_the_transparent_colour_of_a_gif_is_white() -> None:
    picture = Image.new("P", SIZE, 0)
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.paste(1, (0, 0, 24, 32))
    found = decoded(saved(picture, "GIF", transparency=0))
    assert found.getpixel((40, 5)) == WHITE
    assert found.getpixel((5, 5)) == (0, 0, 200)


def test_a_bmp_with_alpha_is_on_white() -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)  # red, green, blue, alpha: BITMAPV4HEADER
    header = struct.pack("<IiiHHIIiiII4I52x", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0, *masks)
    start = struct.pack("<2sIII", b"BM", 14 + 108 + 8, 0, 14 + 108)
    found = decoded(start + header + struct.pack("<2I", 0x00123456, 0xFF123456))
    assert pixels(found).tolist() == [[[255, 255, 255], [0x12, 0x34, 0x56]]]


CLEAR: dict[str, Any] = {
    "RGBA": None, "LA": None, "1": 0, "L": 100, "RGB": (0, 0, 255), "P": bytes(range(256)),
}  # fmt: skip


def with_clear_parts(mode: str) -> bytes:
    """Return a PNG in which some of the gradient is transparent."""
    picture = gradient()
    if CLEAR[mode] is None:
        picture.putalpha(gradient("L"))
        return saved(picture.convert(mode), "PNG")
    return saved(picture.convert(mode), "PNG", transparency=CLEAR[mode])


@pytest.mark.parametrize("band_pixels", [1, SIZE[0] * 5, 2**20])
@pytest.mark.parametrize("mode", CLEAR)
def test_a_transparent_picture_is_the_same_in_bands_as_at_once(
    monkeypatch: pytest.MonkeyPatch, mode: str, band_pixels: int
) -> None:
    monkeypatch.setattr(colour, "BAND_PIXELS", band_pixels)
    data = with_clear_parts(mode)
    whole = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGB", SIZE, "white")
    white.paste(whole, mask=whole)
    assert whole.getextrema()[3] != (255, 255)
    assert (pixels(decoded(data)) == pixels(white)).all()


@pytest.mark.parametrize("mode", CLEAR)
def test_no_copy_of_a_transparent_picture_is_larger_than_a_band(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(colour, "BAND_PIXELS", SIZE[0] * 5)
    sizes: list[tuple[int, int]] = []
    genuine = Image.Image.convert

    def convert(picture: Image.Image, *how: Any) -> Image.Image:
        sizes.append(picture.size)
        return genuine(picture, *how)

    data = with_clear_parts(mode)
    monkeypatch.setattr(Image.Image, "convert", convert)
    decode(data, limit_pixels=LIMIT)
    assert max(sizes) == (SIZE[0], 5)


# Orientation


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


UPRIGHT = gradient()
TURNS = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270"
AS_STORED = {1: UPRIGHT} | {
    orientation: UPRIGHT.transpose(Image.Transpose[turn])
    for orientation, turn in enumerate(TURNS.split(), 2)
}


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    how: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    how |= {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    found = decoded(saved(AS_STORED[orientation], kind, exif=exif(orientation), **how))
    assert found.size == SIZE
    assert np.abs(pixels(found) - pixels(UPRIGHT)).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_a_picture_is_not_turned_by_xmp(kind: str) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decoded(saved(UPRIGHT, kind, xmp=xmp)).size == SIZE


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_left_aside(orientation: int) -> None:
    assert decoded(saved(UPRIGHT, "JPEG", exif=exif(orientation))).size == SIZE


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the EXIF data
@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0",
        b"garbage",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\xff\xff\0\0",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0ab\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_garbage_for_exif_and_profile_does_not_fail_a_good_picture(
    kind: str, garbage: bytes
) -> None:
    data = saved(UPRIGHT, kind, exif=b"Exif\0\0" + garbage, icc_profile=garbage)
    assert decoded(data).size == SIZE


def exif_of(size: int) -> bytes:
    """Return EXIF data of this many bytes that ends with the orientation 6."""
    start, entry = b"II*\0", struct.pack("<HHHIIxxxx", 1, 0x0112, 3, 1, 6)
    place = size - len(entry) - len(b"Exif\0\0")
    return b"Exif\0\0" + (start + struct.pack("<I", place)).ljust(place, b"\0") + entry


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the EXIF data
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_data_is_read_up_to_the_limit(kind: str) -> None:
    most = decode_limits.LIMIT_EXIF_BYTES
    assert decoded(saved(UPRIGHT, kind, exif=exif_of(most))).size == SIZE[::-1]
    assert decoded(saved(UPRIGHT, kind, exif=exif_of(most + 12))).size == SIZE


# Limits, from both sides


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"])
def test_exactly_the_pixel_limit_passes_and_one_less_is_refused(kind: str) -> None:
    data = saved(gradient(), kind)
    assert decode(data, limit_pixels=SIZE[0] * SIZE[1]).picture.size == SIZE
    with pytest.raises(TooManyPixels) as caught:
        decode(data, limit_pixels=SIZE[0] * SIZE[1] - 1)
    assert str(caught.value) == (
        "The picture has 1536 pixels (48 x 32); at most 1535 pixels are accepted: "
        "use a smaller one."
    )


@pytest.mark.parametrize(
    "data",
    [
        png((60000, 60000), 8, 2, b""),
        png((2**31 - 1, 2**31 - 1), 8, 2, b""),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\0;",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
        + (16383).to_bytes(3, "little") * 2,
    ],
    ids=["png", "largest png", "gif", "bmp", "webp"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Image size")
def test_a_header_that_promises_too_much_is_refused_before_decoding(data: bytes) -> None:
    refused(data, TooManyPixels, "1 megapixels")


def test_a_limit_above_pillows_own_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decoded(saved(gradient(), "PNG")).size == SIZE


@pytest.mark.parametrize("is_wide", [True, False])
def test_the_longest_side_passes_and_one_more_is_refused(is_wide: bool) -> None:
    def long(side: int) -> bytes:
        size = (side, 1) if is_wide else (1, side)
        return saved(Image.new("L", size), "PNG")

    most = decoding.LIMIT_SIDE_PIXELS
    assert max(decoded(long(most)).size) == most
    refused(long(most + 1), TooManyPixels, "at most 65535 are accepted on a side")


# What is no picture, or a broken one


WEB_PAGES = (
    *(b"\xef\xbb\xbf \r\n<HTML lang=de>", b"<!-- a > b --> <!doctype html>", b"<!-- without end"),
    *(b"<script>", b"<title>Cat", b"<a href=/>", b"<?xml version='1.0'?><!DOCTYPE html>"),
)
OTHERS = (
    *(b"\0\0\0\x18ftypmp42\0\0", b"\0", b"not found", b"%!PS-Adobe-3.0 EPSF-3.0"),
    *(b"P6 1 1 255 abc", b"RIFF\0\0\0\0WAVEfmt "),
)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"<!DOCTYPE html><html>", "a web page (HTML), not a picture: paste the address of the"),
        *((start, "a web page (HTML), not a picture") for start in WEB_PAGES),
        (b"<svg xmlns=...", "a drawing (SVG)"),
        (b"<?xml version='1.0'?><!-- made by hand --> <svg", "a drawing (SVG)"),
        (b"<?xml version='1.0'?><feed>", "a document in XML"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\1\0\1\0", "an icon (ICO)"),
        (b"\xff\x0a\xfa", "a JPEG XL picture"),
        (b"\0\0\0\x18ftypheic\0\0", "a HEIC photo, as iPhones make them, which is not accepted"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "save or export it as JPEG"),
        (b'{"error": 404}', "looks like JSON"),
        (b"", "is empty: choose it again"),
        *((start, "not a picture of an accepted format") for start in OTHERS),
    ],
)
def test_other_data_is_refused_and_named(data: bytes, named: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        decode(data, limit_pixels=LIMIT)
    assert named in str(caught.value)
    assert re.search("JPEG, PNG, WebP, GIF, BMP, AVIF or TIFF|HTML|HEIC|empty", str(caught.value))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
CUT: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {
    "JPEG": ("JPEG", NOISE, {}),
    "JPEG with restart marks": ("JPEG", NOISE, {"restart_marker_rows": 1}),
    "PNG": ("PNG", NOISE, {}),
    "PNG with a palette": ("PNG", NOISE.convert("P"), {}),
    "GIF": ("GIF", NOISE, {"interlace": 0}),
    "GIF with a clear colour": ("GIF", NOISE.convert("P"), {"interlace": 0, "transparency": 7}),
    "BMP": ("BMP", NOISE, {}),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_picture_that_breaks_off_is_completed_where_half_of_it_is_there(kind: str) -> None:
    name, picture, how = CUT[kind]
    whole = saved(picture, name, **how)
    expected = pixels(decoded(whole))
    found = completed(start_of(whole, 0.8))
    same = (pixels(found) == expected).all(axis=(1, 2))
    assert 0.6 <= same.mean() < 0.9
    assert same[-1 if name == "BMP" else 0]
    refused(start_of(whole, 0.35), DamagedPicture, f"Too little of this {name} picture is there")


def test_of_a_frame_on_a_larger_canvas_half_of_the_frame_is_enough() -> None:
    whole = placed(NOISE.convert("P"), (3 * NOISE.width, NOISE.height), (NOISE.width, 0))
    found = completed(start_of(whole, 0.7))
    assert (pixels(found)[:, : NOISE.width] == 255).all()
    refused(start_of(whole, 0.35), DamagedPicture, "Too little")


def test_what_is_missing_is_grey() -> None:
    whole = saved(NOISE, "PNG")
    found = completed(start_of(whole, 0.7))
    assert (pixels(found)[-8:] == 127).all()


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
    return png(picture.size, 8, 2, rows, interlace=1)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_an_interlaced_picture_that_breaks_off_is_coarse_where_it_is_incomplete(kind: str) -> None:
    smooth = gradient().resize((96, 64))
    whole = interlaced_png(smooth) if kind == "PNG" else saved(smooth, "GIF", interlace=1)
    expected = pixels(decoded(whole))
    found = completed(start_of(whole, 0.7))
    assert 0 < np.abs(pixels(found) - expected).mean() < 5


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "TIFF"])
def test_other_formats_that_break_off_are_refused(kind: str) -> None:
    data = saved(NOISE, kind)
    refused(start_of(data, 0.9), DamagedPicture, "data is damaged or incomplete: save the picture")


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_a_picture_that_only_begins_is_damaged(start: bytes) -> None:
    with pytest.raises(DamagedPicture) as caught:
        decode(start, limit_pixels=LIMIT)
    assert caught.value.__cause__ is not None


# Pictures built to be slow


def with_scans(number: int) -> bytes:
    whole = saved(Image.new("L", SIZE, 128), "JPEG", progressive=True)
    start, scan = whole[:-2], whole[whole.rindex(b"\xff\xda") : -2]
    return start + scan * (number - start.count(b"\xff\xda")) + b"\xff\xd9"


def jpeg_with(*segments: bytes) -> bytes:
    return GREY[:2] + b"".join(segments) + GREY[2:]


def with_segments(number: int) -> bytes:
    own = len(re.findall(rb"\xff[\xc0\xc4\xda\xdb\xe0]", GREY))
    return jpeg_with(b"\xff\xfe\0\2" * (number - own))


def with_tables(number: int) -> bytes:
    tables = b"".join(bytes([0x10 + index % 4]) + b"\0\1" * 64 for index in range(number))
    return jpeg_with(b"\xff\xdb" + struct.pack(">H", 2 + len(tables)) + tables)


def with_notes(number: int) -> bytes:
    counts = [5000] * (number // 5000) + [number % 5000]  # as many as a segment holds
    parts = [b"Photoshop 3.0\0" + b"8BIM\0\1\0\0\0\0\0\0" * count for count in counts]
    return jpeg_with(*(b"\xff\xed" + struct.pack(">H", 2 + len(part)) + part for part in parts))


def with_exif(number: int) -> bytes:
    segment = b"\xff\xe1" + struct.pack(">H", 22) + b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)
    return jpeg_with(segment * number)


GREY = saved(Image.new("L", SIZE, 128), "JPEG")
ROWS = bytes((SIZE[0] + 1) * SIZE[1])
# What there may be too many of: how a file has a number of them, and the limit.
SLOW: dict[str, tuple[Callable[[int], bytes], int]] = {
    "scans": (with_scans, decode_limits.LIMIT_SCANS),
    "segments": (with_segments, decode_limits.LIMIT_SEGMENTS),
    "fill bytes": (
        lambda number: jpeg_with(b"\xff" * (number - 2)),
        decode_limits.LIMIT_FILL_BYTES,
    ),
    "tables": (with_tables, 4),  # a JPEG has no more
    "EXIF": (with_exif, decode_limits.LIMIT_EXIF_SEGMENTS),
    "notes": (with_notes, decode_limits.LIMIT_NOTES),
    "chunks": (
        lambda number: png(SIZE, 8, 0, ROWS, *[chunk(b"teXt")] * (number - 3)),
        decode_limits.LIMIT_CHUNKS,
    ),
}


@pytest.mark.parametrize("part", SLOW)
def test_as_many_parts_as_the_limit_pass_and_one_more_is_refused(part: str) -> None:
    with_parts, most = SLOW[part]
    assert decoded(with_parts(most)).size == SIZE
    cut_into_parts(with_parts(most + 1), "(JPEG|PNG)")


def test_scans_times_pixels_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data, area = with_scans(12), SIZE[0] * SIZE[1]
    monkeypatch.setattr(decoding, "LIMIT_SCANNED_PIXELS", 12 * area)
    assert decoded(data).size == SIZE
    monkeypatch.setattr(decoding, "LIMIT_SCANNED_PIXELS", 12 * area - 1)
    cut_into_parts(data)


def test_a_jpeg_that_ends_before_its_picture_is_refused_unread() -> None:
    data = GREY[:2] + b"\xff\xd9" + with_exif(1000)[2:]
    refused(data, DamagedPicture, "ends before its picture")


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
@pytest.mark.parametrize("behind", [False, True])
def test_png_chunks_that_do_not_concern_pixels_are_left_aside(kind: str, behind: bool) -> None:
    plain, end = png(SIZE, 8, 0, ROWS), chunk(b"IEND")
    before = png(SIZE, 8, 0, ROWS, USELESS[kind])
    data = plain[: -len(end)] + USELESS[kind] + end if behind else before
    assert (pixels(decoded(data)) == pixels(decoded(plain))).all()
    assert decode_limits.essential_png(data) == plain


@pytest.mark.parametrize("marker", [0xC3, 0xC9, 0xCA])
def test_a_jpeg_that_no_browser_shows_is_refused(marker: int) -> None:
    data = GREY.replace(b"\xff\xc0", bytes([0xFF, marker]))
    refused(data, UnsupportedFormat, "coded in a way that browsers do not show")


def test_a_long_scan_is_no_fill() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", quality=95)
    assert len(data) > 2 * decode_limits.LIMIT_FILL_BYTES
    assert decoded(data).size == (400, 400)


def test_fill_bytes_without_an_end_are_refused() -> None:
    cut_into_parts(CAT[:2] + b"\xff" * 1_000_000)


def test_a_file_is_read_as_often_as_the_limit_and_no_more() -> None:
    with decode_limits.ReadLimitedFile(bytes(decode_limits.LIMIT_READS + 1), "GIF") as file:
        for _ in range(decode_limits.LIMIT_READS):
            assert file.read(1) == b"\0"
        with pytest.raises(DamagedPicture, match="The GIF data is cut into more parts"):
            file.read(1)


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
    most = decode_limits.LIMIT_READS // reads
    found = decoded(gif_with(before + part * (most - few) + behind))
    assert (pixels(found) == pixels(gradient("L").convert("RGB"))).all()
    cut_into_parts(gif_with(before + part * (most + 1) + behind), "GIF")


def test_a_gif_may_be_as_large_as_a_picture_can_be_in_blocks_as_encoders_write_them() -> None:
    block = b"\xff" + b"x" * 255
    blocks = block * (10 * 2**20 // len(block))
    assert decoded(gif_with(b"!\xfe" + blocks + b"\0")).size == SIZE


# Any data at all


def originals() -> list[bytes]:
    small = gradient().resize((12, 8))
    clear = small.convert("RGBA")
    clear.putalpha(100)
    frames = {"save_all": True, "append_images": [small.transpose(Image.Transpose.ROTATE_180)]}
    return [
        saved(small, "JPEG", exif=exif(6)),
        saved(small, "JPEG", progressive=True),
        saved(small.convert("CMYK"), "JPEG"),
        saved(small, "MPO", **frames),
        saved(clear, "PNG", exif=exif(3)),
        saved(small.convert("P"), "PNG", transparency=1),
        saved(small, "PNG", **frames),
        saved(Image.fromarray(np.full((8, 12), 999, np.uint16)), "PNG"),
        saved(clear, "WEBP", exif=exif(8)),
        saved(small, "WEBP", lossless=True, **frames),
        saved(small, "GIF", **frames),
        saved(small.convert("P"), "GIF", transparency=1),
        saved(clear, "BMP"),
        saved(small.convert("1"), "BMP"),
        saved(clear, "AVIF", exif=exif(6)),
        saved(small, "TIFF", compression="tiff_lzw"),
        saved(clear, "TIFF", exif=exif(6)),
        bmp(8, b"\2\0\0\1", height=1, compression=1),
    ]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a real file, cut, overwritten, with parts doubled or lost."""
    data = bytearray(draw(st.sampled_from(ORIGINALS)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 8))
        match draw(st.sampled_from(["write", "insert", "drop", "double", "cut"])):
            case "write":
                data[start : start + length] = draw(st.binary(min_size=length, max_size=length))
            case "insert":
                data[start:start] = draw(st.binary(max_size=40))
            case "drop":
                del data[start : start + length]
            case "double":
                data[start:start] = data[start : start + length * 8]
            case "cut":
                del data[start:]
    return bytes(data)


ORIGINALS = originals()


@pytest.mark.filterwarnings("ignore")  # Pillow's, about odd metadata
@settings(deadline=None, max_examples=300)
@given(mutated())
def test_a_mutated_file_gives_a_picture_or_a_deliberate_error(data: bytes) -> None:
    try:
        picture = decode(data, limit_pixels=LIMIT).picture
    except HttpError:
        pass
    else:
        assert picture.mode == "RGB"
        assert picture.width * picture.height <= LIMIT


@pytest.mark.filterwarnings("ignore")
@given(st.binary(), st.sampled_from([b"\xff\xd8\xff", b"GIF89a", b"BM", b"\x89PNG\r\n\x1a\n"]))
def test_any_data_at_all_gives_a_picture_or_a_deliberate_error(data: bytes, start: bytes) -> None:
    for file in (data, start + data):
        with contextlib.suppress(HttpError):
            assert decode(file, limit_pixels=LIMIT).picture.mode == "RGB"


def test_a_large_jpeg_is_decoded_smaller_but_keeps_its_least_side() -> None:
    data = saved(gradient().resize((960, 721)), "JPEG")
    sizes = {side: decoded(data, least_side=side).size for side in (None, 361, 360, 180, 1)}
    half, quarter, eighth = (480, 361), (240, 181), (120, 91)
    assert sizes == {None: (960, 721), 361: (960, 721), 360: half, 180: quarter, 1: eighth}


@pytest.mark.parametrize("kind", ["PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_other_formats_are_decoded_whole(kind: str) -> None:
    data = saved(gradient().resize((960, 721)), kind)
    assert decoded(data, least_side=180).size == (960, 721)


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
