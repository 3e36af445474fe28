"""What it costs to serve in one place or another: numbers of each, and a table of the gateway."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from tools.benchmarks.answers.results import Results
from tools.benchmarks.contenders.starting import IMAGE, ORIGINAL
from tools.benchmarks.parts import starts as starting
from tools.benchmarks.parts.asking import Row
from tools.benchmarks.plan import MODEL
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import difference, ratio, shown

T = TypeVar("T")

THROUGH, DIRECT = "v3_gateway", "v3_direct"


def middle(rows: Sequence[T], value: Callable[[T], float]) -> str:
    """Return the median of one figure of some rows."""
    return shown(median(map(value, rows)))


def starts_ratio(results: Results) -> str:
    """Return how many times as fast as the original's a start is with the model in the image.

    The largest model counts, as in the question.
    """
    for row in sorted(results.measured.starts, key=lambda row: row.megabytes, reverse=True):
        by_way = [_seconds(results.measured.starts, row.model, way) for way in (ORIGINAL, IMAGE)]
        if found := ratio(*by_way):
            return shown(found.median)
    return ""


def _seconds(rows: Iterable[starting.Row], model: str, way: str) -> dict[int, float]:
    return {row.round: row.seconds for row in rows if (row.model, row.way) == (model, way)}


def strategy_ratio(field: str, above: str, below: str) -> Callable[[Results], str]:
    """Return what says how one strategy's figure compares with another's, the least difference."""

    def said(results: Results) -> str:
        cases = dict.fromkeys((row.size, row.clients) for row in results.measured.strategies)
        medians = []
        for case in cases:
            both = (_by_round(results, field, case, each) for each in (above, below))
            if found := ratio(*both):
                medians.append(found.median)
        return shown(min(medians)) if medians else ""

    return said


def _by_round(
    results: Results, field: str, case: tuple[str, int], strategy: str
) -> dict[int, float]:
    return {
        row.round: getattr(row, field)
        for row in results.measured.strategies
        if (row.size, row.clients) == case and row.strategy == strategy
    }


def gateway(results: Results) -> str:
    """Return a table of v3 asked through its gateway and directly."""
    rows = [row for row in results.measured.servers if row.entrance in {THROUGH, DIRECT}]
    keys = dict.fromkeys((row.way, row.clients) for row in rows)
    cells = [(way, str(clients), *_hop(results, rows, way, clients)) for way, clients in keys]
    titles = ("pictures by", "clients", "direct, p50 ms", "through the gateway, p50 ms")
    rates = ("direct, answers a second", "through the gateway, answers a second")
    return table((*titles, "the hop, ms", *rates), sorted(cells, key=lambda cell: int(cell[1])))


def _hop(results: Results, rows: list[Row], way: str, clients: int) -> tuple[str, ...]:
    groups = [
        [row for row in rows if (row.entrance, row.way, row.clients) == (entrance, way, clients)]
        for entrance in (DIRECT, THROUGH)
    ]
    if not all(groups):
        return ("",) * 5
    times = [middle(group, lambda row: row.p50_ms) for group in groups]
    rates = [middle(group, lambda row: row.rate) for group in groups]
    both = [results.measured.by_round("p50_ms", each, way, clients) for each in (THROUGH, DIRECT)]
    spread = difference(*both)
    return (*times, "" if spread is None else shown(spread.median), *rates)


def http_ms(results: Results) -> str:
    """Return what the service adds to its own work on the smallest JPEG, as its caller sees it."""
    sizes = {
        row.megapixels: row.rest_ms
        for row in results.measured.stages
        if row.rest_ms is not None and (row.model, row.format) == (MODEL, "jpeg")
    }
    return shown(sizes[min(sizes)]) if sizes else ""
