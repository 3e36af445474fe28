"""Medians over rounds with their range, and tables of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd


@dataclass(frozen=True)
class Summary:
    """The median of some rounds, the least and the most; as text e.g. ``3.52 (3.34 to 3.95)``."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the summary of at least one value."""
        known = pd.Series([*values])
        return cls(float(known.median()), float(known.min()), float(known.max()), len(known))

    def __str__(self) -> str:
        text = three_digits(self.median)
        if self.rounds == 1:
            return text
        return f"{text} ({three_digits(self.least)} to {three_digits(self.most)})"


def three_digits(value: float) -> str:
    """Return a number with three digits, or with all before the point: 0.50, 12.3, 1234."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}"


def where(rows: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows


def by_round(rows: pd.DataFrame, column: str, **wanted: object) -> pd.Series:
    """Return one column of the rows whose other columns have these values, by round."""
    return where(rows, **wanted).set_index("round")[column]


def ratio(above: pd.Series, below: pd.Series) -> Summary | None:
    """Return the ratios within each round that both have; None where there is none."""
    ratios = (above / below[below != 0]).dropna()
    return None if ratios.empty else Summary.of(ratios)


def difference(above: pd.Series, below: pd.Series) -> Summary | None:
    """Return the differences within each round that both have; None where there is none."""
    differences = (above - below).dropna()
    return None if differences.empty else Summary.of(differences)


def groups(rows: pd.DataFrame, *columns: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Return the rows that are alike in these columns, in the order of their first row."""
    return rows.groupby([*columns], sort=False) if len(rows) else ()


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; nothing where there is no row. None becomes an empty cell."""
    lines = [_line(row) for row in rows]
    if not lines:
        return ""
    return "\n".join([_line(titles), _line(["---"] * len(titles)), *lines, ""])


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = three_digits(value) if isinstance(value, float) else str(value)
    return text.replace("|", "/")
