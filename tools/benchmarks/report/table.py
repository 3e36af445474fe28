"""A table as Markdown has it."""

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; nothing where there is no row."""
    lines = [_line(row) for row in rows]
    if not lines:
        return ""
    return "\n".join([_line(titles), _line(["---"] * len(titles)), *lines, ""])


def section(title: str, *blocks: str) -> str:
    """Return a section of blocks that hold something; nothing where none does."""
    filled = [block for block in blocks if block]
    return "\n".join([f"## {title}\n", *filled]) + "\n" if filled else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
