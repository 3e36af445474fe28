"""All results that texts are made from: the benchmark's and the rehearsal's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.benchmarks.answers.rehearsed import Rehearsal, rehearsed
from tools.benchmarks.report.measured import Measured


@dataclass(frozen=True)
class Results:
    """What was found.

    Attributes:
        measured: the benchmark's rows by part; none of a part that has not run.
        rehearsal: None where none has ended well.
    """

    measured: Measured
    rehearsal: Rehearsal | None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what a folder of results holds."""
        return cls(Measured.read(folder), rehearsed(folder))
