"""What was tried, how often, and what came of it: ``docs/reliability.md``."""

from collections.abc import Sequence
from typing import NamedTuple

from tools.benchmarks.machine import machine
from tools.benchmarks.summary import table

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
        kind: of attack.
        tried: how often, or how many at once.
    """

    kind: str
    what: str
    tried: str
    outcome: str
    goal: str
    is_held: bool

    @property
    def line(self) -> str:
        """Return it in one line."""
        verdict = "held" if self.is_held else "NOT HELD"
        return f"{self.kind}: {self.what} ({self.tried}): {self.outcome}; {self.goal}: {verdict}"


def page(rows: Sequence[Row], *, seed: int, minutes: float, is_quick: bool) -> str:
    """Return the document."""
    short = " in this, its short form" if is_quick else ""
    sections = [INTRODUCTION.format(minutes=max(1, minutes), short=short)]
    for kind in dict.fromkeys(row.kind for row in rows):
        own = [(*row[1:5], "yes" if row.is_held else "**no**") for row in rows if row.kind == kind]
        sections.append(f"## {kind.capitalize()}\n\n{table(TITLES, own)}")
    here = machine()
    sections.append(TAKEN.format(cpu=here["cpu"], cores=here["cores"], seed=seed))
    return "\n".join(sections)
