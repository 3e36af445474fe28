"""What a process and all that it started take: CPU seconds and memory."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import psutil

MB = 1e6
# To read what a process of 300 MB takes costs about 5 ms: at this pace 1 % of a core.
PAUSE_S = 0.5


def processes(pids: Iterable[int]) -> list[psutil.Process]:
    """Return these processes and everything below them that is still there."""
    found: list[psutil.Process] = []
    for pid in pids:
        try:
            first = psutil.Process(pid)
            found += [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds that were used, by those that ended too if they were waited for."""
    total = 0.0
    for process in processes(pids):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory in use (PSS), in MB: what several processes share is counted once."""
    total = 0
    for process in processes(pids):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / MB


class Peak:
    """Looks at the memory of process trees now and then, and keeps the most it saw."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.mb = 0.0
        self._pids = tuple(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.mb = max(self.mb, memory_mb(self._pids))
        self.mb = max(self.mb, memory_mb(self._pids))
