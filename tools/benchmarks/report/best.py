"""Which arrangement of the bare loop is the limit."""

from pathlib import Path
from statistics import median

from imgserve.machine import cpu_quota
from tools.benchmarks.loop.arrangement import Arrangement, arrangements
from tools.benchmarks.parts.limit import Row
from tools.benchmarks.record import kept, rows


def rates(found: list[Row], work: str, precision: str) -> dict[Arrangement, list[float]]:
    """Return the rates of each arrangement."""
    by_arrangement: dict[Arrangement, list[float]] = {}
    for row in found:
        if (row.work, row.precision) == (work, precision):
            way = Arrangement(row.processes, row.streams, row.threads, row.loops)
            by_arrangement.setdefault(way, []).append(row.rate)
    return by_arrangement


def best(found: list[Row], work: str = "whole", precision: str = "fp32") -> Arrangement:
    """Return the arrangement with the highest median rate, of at least one."""
    measured = rates(found, work, precision)
    return max(measured, key=lambda way: median(measured[way]))


def best_arrangement(folder: Path) -> Arrangement:
    """Return the best that the part ``limit`` found; a usual one where it has not run."""
    found = rows(kept(folder, "limit"), Row)
    return best(found) if found else arrangements(cpu_quota())[1]
