"""What this machine, or the container on it, offers."""

import os
import tempfile
from pathlib import Path


def cpu_quota(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many CPUs this process may use, at least 1.

    A container on a large host sees all of its cores but may use a share of them: the cgroup's
    quota says how much. The file holds "<quota> <period>" in microseconds, or "max <period>"
    (kernel documentation, cgroup-v2, cpu.max).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = cpu_max.read_text().split()
        cores = min(cores or 1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, cores or 1)


def memory_bytes(memory_max: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return how much memory this process may use.

    The cgroup's limit where there is a smaller one: the file holds bytes, or "max" (kernel
    documentation, cgroup-v2, memory.max).
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(memory_max.read_text()))
    except (OSError, ValueError):
        return physical


def default_weights_dir() -> Path:
    """Return ``imgserve`` under the user's cache folder (XDG base directory specification).

    A user of a container may have no home: then it is under the folder for temporary files.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        cache = Path(tempfile.gettempdir())
    return cache / "imgserve"
