"""Several models at one address, and how they come to a container: medians over the rounds."""

from collections.abc import Callable
from statistics import median

from tools.benchmarks.parts.starts import Row as Start
from tools.benchmarks.parts.strategies import Row
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import Spread, shown


def strategies(measured: Measured) -> str:
    """Return what every strategy did with models of each size, for each number of clients."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in measured.strategies:
        groups.setdefault((_named(row), row.clients, row.strategy), []).append(row)
    cells = [
        (models, str(clients), strategy, *_of(groups[models, clients, strategy]))
        for models, clients, strategy in groups
    ]
    titles = ("models", "clients", "strategy", "answers a second", "p50, ms", "p99, ms")
    cells.sort(key=lambda cell: cell[:2])
    return table((*titles, "peak, MB", "loads an answer", "failed"), cells)


def _named(row: Row) -> str:
    return f"{row.size}: {', '.join(row.models)}"


def _of(group: list[Row]) -> tuple[str, ...]:
    def middle(value: Callable[[Row], float]) -> str:
        return shown(median(map(value, group)))

    is_known = all(row.loads >= 0 for row in group)
    return (
        str(Spread.of(row.rate for row in group)),
        middle(lambda row: row.p50_ms),
        middle(lambda row: row.p99_ms),
        middle(lambda row: row.peak_mb),
        middle(lambda row: row.loads / max(1, row.answers)) if is_known else "",
        str(sum(row.failed for row in group)),
    )


def starts(measured: Measured) -> str:
    """Return the seconds from each start to the first right answer, and what had to come."""
    groups: dict[tuple[str, str], list[Start]] = {}
    for row in measured.starts:
        groups.setdefault((row.model, row.way), []).append(row)
    cells = [
        (model, way, str(Spread.of(row.seconds for row in group)), shown(group[0].megabytes))
        for (model, way), group in groups.items()
    ]
    cells.sort(key=lambda cell: cell[0])
    return table(("model", "way", "seconds", "MB over the network"), cells)
