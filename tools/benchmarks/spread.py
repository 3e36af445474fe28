"""Medians over rounds, with how far the rounds lie apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, the least and the most."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of values, of which there is at least one."""
        known = list(values)
        return cls(median(known), min(known), max(known), len(known))

    def __str__(self) -> str:
        """Return the median, and the range where there was more than one round."""
        text = shown(self.median)
        if self.rounds == 1:
            return text
        return f"{text} ({shown(self.least)} to {shown(self.most)})"


def shown(value: float) -> str:
    """Return a number with three digits, or all before the point."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}"


def ratio(above: Mapping[int, float], below: Mapping[int, float]) -> Spread | None:
    """Return the spread of the ratios of each round that both have; None where there is none."""
    shared = above.keys() & below.keys()
    ratios = [above[key] / below[key] for key in sorted(shared) if below[key]]
    return Spread.of(ratios) if ratios else None


def difference(above: Mapping[int, float], below: Mapping[int, float]) -> Spread | None:
    """Return the spread of the differences of each round that both have."""
    shared = sorted(above.keys() & below.keys())
    return Spread.of(above[key] - below[key] for key in shared) if shared else None
