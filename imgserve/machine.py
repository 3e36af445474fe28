"""What this machine, or the container on it, offers."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE_BLOCK_BYTES = 512 * 1024  # above what is read from a socket at once, which should be quick
SPARE_BYTES = 4 * 1024 * 1024  # that a heap keeps at its end for the next request


def cpu_quota(cgroup: Path = CGROUP) -> int:
    """Return how many CPUs this process may use, at least 1.

    A container on a large host sees all of its cores but may use a share of them: the cgroup's
    quota says how much, in microseconds of each period. Version 2 has "<quota> <period>" or "max
    <period>" in one file, version 1 has two files, with -1 for no quota (kernel documentation,
    admin-guide/cgroup-v2, scheduler/sched-bwc).
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    words = _words(cgroup / "cpu.max") or [
        *_words(cgroup / "cpu" / "cpu.cfs_quota_us"),
        *_words(cgroup / "cpu" / "cpu.cfs_period_us"),
    ]
    with suppress(ValueError, ZeroDivisionError):
        quota, period = map(int, words)
        if quota > 0:
            cores = min(cores, round(quota / period))
    return max(1, cores)


def memory_bytes(cgroup: Path = CGROUP) -> int:
    """Return how much memory this process may use: the cgroup's limit where there is a smaller one.

    Version 2 writes "max" for no limit, version 1 a number larger than any memory
    (kernel documentation, admin-guide/cgroup-v2 and cgroup-v1).
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = _words(cgroup / "memory.max") or _words(cgroup / "memory" / "memory.limit_in_bytes")
    limits = [int(word) for word in words if word.isdecimal()]
    return min([physical, *limits])


def process_bytes(pid: int) -> int:
    """Return how much memory a process takes, its share of what it shares; 0 once it has ended."""
    import psutil  # here: only a pool with a limit asks

    try:
        memory = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return 0
    return getattr(memory, "pss", memory.uss)  # Linux alone counts shares


def give_back_large_blocks(
    block_bytes: int = LARGE_BLOCK_BYTES, spare_bytes: int = SPARE_BYTES, heaps: int = 0
) -> None:
    """Have the system get back the memory of a picture as soon as nobody needs it.

    glibc would keep it for the next picture, in many pieces where there are many threads: blocks
    over a threshold are given back, but the threshold grows with each of them, unless it is set to
    ``block_bytes`` (mallopt(3), M_MMAP_THRESHOLD). A heap keeps ``spare_bytes`` at its end; 0
    ``heaps`` are some for each CPU.
    """
    import ctypes  # here: only a backend and its workers ask

    with suppress(OSError, AttributeError):  # another C library
        c_library = ctypes.CDLL(None)
        c_library.mallopt(M_MMAP_THRESHOLD, block_bytes)
        c_library.mallopt(M_TRIM_THRESHOLD, spare_bytes)
        c_library.mallopt(M_ARENA_MAX, heaps)


def _words(file: Path) -> list[str]:
    """Return what a file of the kernel says, nothing where there is no such file."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def default_weights_dir() -> Path:
    """Return ``imgserve`` under the user's cache folder (XDG base directory specification).

    A user of a container may have no home: then it is under the folder for temporary files.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        cache = temporary_folder()
    return cache / "imgserve"


def default_models_file() -> Path | None:
    """Return MODELS_FILE, else a models.toml in this folder: a person's own models."""
    named = os.environ.get("MODELS_FILE")
    path = Path(named or "models.toml")
    return path if named or path.is_file() else None


def storage_emulator() -> str:
    """Return where a stand-in for Cloud Storage is, from the variable of Google's libraries."""
    return os.environ.get("STORAGE_EMULATOR_HOST", "")


def temporary_folder() -> Path:
    """Return a folder for temporary files; a container that has none still has shared memory."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/dev/shm")  # noqa: S108
