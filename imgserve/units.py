"""Sizes as a person reads them, rounded up: what is over a limit never looks like the limit."""

from math import ceil

MIB = 1024 * 1024


def mebibytes(size_bytes: int) -> str:
    """Return a size in bytes: "10 MiB", or "999 bytes" where that is shorter."""
    return f"{size_bytes} bytes" if size_bytes < MIB else f"{_tenths(size_bytes / MIB)} MiB"


def megapixels(pixels: int) -> str:
    """Return a number of pixels: "50.4 megapixels", or "999 pixels" where that is shorter."""
    return f"{pixels} pixels" if pixels < 10**6 else f"{_tenths(pixels / 10**6)} megapixels"


def _tenths(number: float) -> str:
    return f"{ceil(round(number * 10, 6)) / 10:g}"
