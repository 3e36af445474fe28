"""What was tried, how often, and what came of it: ``docs/reliability.md``."""

import argparse
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tools.benchmarks.results import machine, table

TITLES = ("what", "tried", "came of it", "goal", "held")
INTRODUCTION = """# Reliability

What a backend was attacked with, by `make attack`: a real server on loopback, started as a
container starts it, with [its limits](how-it-works.md#limits). While callers attack it, others ask
`/ready` ten times a second and send pictures. "Held" compares with the goal beside it.

`make attack` takes {minutes:.0f} minutes{short}; `ARGS=--quick` tries less of each, `ARGS=bombs`
one kind. It needs `wrk` and, for a name server of its own, root on Linux.
"""
TAKEN = "Taken on {cpu}, {cores} cores, seed {seed}.\n"


class Row(NamedTuple):
    """One attack.

    Attributes:
        tried: how often, or how many at once.
    """

    what: str
    tried: str
    outcome: str
    goal: str
    is_held: bool

    def __str__(self) -> str:
        verdict = "held" if self.is_held else "NOT HELD"
        return f"{self.what} ({self.tried}): {self.outcome}; {self.goal}: {verdict}"


def counted(found: Mapping[int, int] | Mapping[str, int]) -> str:
    """Return how often each status was answered; what got no answer has none."""
    return ", ".join(f"{status or 'lost'}: {count}" for status, count in sorted(found.items()))


def page(found: Mapping[str, Sequence[Row]], given: argparse.Namespace, *, minutes: float) -> str:
    """Return the document about the rows of each kind of attack."""
    short = " in this, its short form" if given.quick else ""
    sections = [INTRODUCTION.format(minutes=max(1, minutes), short=short)]
    for title, rows in found.items():
        cells = [(*row[:-1], "yes" if row.is_held else "**no**") for row in rows]
        sections.append(f"## {title}\n\n{table(TITLES, cells)}")
    return "\n".join([*sections, TAKEN.format(**machine(), seed=given.seed)])
