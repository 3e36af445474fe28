"""Medians over rounds with their range, and tables of them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Summary(NamedTuple):
    """The median of some rounds, the least and the most; as text e.g. ``3.52 (3.34 to 3.95)``."""

    median: float
    least: float
    most: float
    rounds: int

    def __str__(self) -> str:
        text = three_digits(self.median)
        if self.rounds == 1:
            return text
        return f"{text} ({three_digits(self.least)} to {three_digits(self.most)})"


def summary(values: Iterable[float]) -> Summary | None:
    """Return the summary of the rounds that have a value; None where none has.

    A ratio or difference of two series has one in each round of both, if nothing is divided by 0.
    """
    known = pd.Series(values, dtype=float).replace([np.inf, -np.inf], np.nan).dropna()
    if known.empty:
        return None
    return Summary(known.median(), known.min(), known.max(), len(known))


def three_digits(value: float) -> str:
    """Return a number with three digits, or with all before the point: 0.50, 12.3, 1234."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}"


def by_round(rows: pd.DataFrame, column: str, **wanted: object) -> pd.Series:
    """Return one column of the rows whose other columns have these values, by round."""
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.set_index("round")[column]


def groups(rows: pd.DataFrame, *columns: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    """Return the rows that are alike in these columns, in the order of their first row."""
    return rows.groupby([*columns], sort=False) if len(rows) else ()


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; nothing where there is no row. None becomes an empty cell."""
    lines = [f"| {' | '.join(map(shown, row))} |" for row in (titles, ["---"] * len(titles), *rows)]
    return "\n".join([*lines, ""]) if len(lines) > 2 else ""  # noqa: PLR2004  titles and the rule


def shown(value: object) -> str:
    """Return a value as a table has it."""
    text = three_digits(value) if isinstance(value, float) else str("" if value is None else value)
    return text.replace("|", "/")
