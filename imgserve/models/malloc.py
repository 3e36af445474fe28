"""What glibc's heap is told; other C libraries have neither of these functions and need none."""

import ctypes
import sys
from collections.abc import Callable

M_ARENA_MAX = -8  # of glibc's malloc.h


def give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps it for later otherwise (malloc_trim(3))."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def share_one_heap() -> None:
    """Let all threads have one heap: glibc gives each its own, up to eight for each core.

    For few threads one is as fast, and takes less memory (mallopt(3)).
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(M_ARENA_MAX, 1)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of the C library; None where it has none of that name, as musl."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
