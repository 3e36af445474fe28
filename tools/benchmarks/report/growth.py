"""How cost grows, a line each, and the steps behind it."""

from statistics import linear_regression

from tools.benchmarks.parts.growth import Row
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import shown


def growth(measured: Measured) -> tuple[str, str]:
    """Return the lines, and the table of all steps."""
    kinds = {
        what: [row for row in measured.growth if row.what == what and not row.failed]
        for what in ("models", "clients", "megapixels")
    }
    said = (SAYERS[what](steps) for what, steps in kinds.items() if len(steps) > 1)
    return "".join(f"- {line}\n" for line in said), _table(measured.growth)


def _models(steps: list[Row]) -> str:
    fit = linear_regression([row.weights_mb for row in steps], [row.memory_mb for row in steps])
    slower = steps[-1].p50_ms / steps[0].p50_ms
    return (
        f"Models: memory is {shown(fit.intercept)} MB and {shown(fit.slope)} MB for each MB of "
        f"weights; with {steps[-1].amount:g} loaded the first one's p50 is {shown(slower)} times "
        "what it was alone."
    )


def _clients(steps: list[Row]) -> str:
    first, last = steps[0], steps[-1]
    best = max(steps, key=lambda row: row.rate)
    waiting = last.p50_ms / (1000 * last.amount / last.rate)
    return (
        f"Clients: {shown(first.rate)} answers a second with one, {shown(best.rate)} at most (with "
        f"{best.amount:g}), {shown(last.rate)} with {last.amount:g}; from there on p50 is "
        f"{shown(waiting)} times clients / throughput, and "
        f"{shown((last.memory_mb - first.memory_mb) / (last.amount - first.amount))} MB for each."
    )


def _megapixels(steps: list[Row]) -> str:
    fit = linear_regression([row.amount for row in steps], [row.p50_ms for row in steps])
    return (
        f"Picture: p50 is {shown(fit.intercept)} ms and {shown(fit.slope)} ms for each megapixel "
        "of a JPEG."
    )


def _table(steps: list[Row]) -> str:
    cells = [
        (
            row.what,
            f"{row.amount:g}",
            shown(row.rate),
            shown(row.p50_ms),
            shown(row.p99_ms),
            shown(row.memory_mb),
            str(row.failed),
        )
        for row in steps
    ]
    titles = ("of", "amount", "answers a second", "p50, ms", "p99, ms", "memory, MB", "failed")
    return table(titles, cells)


SAYERS = {"models": _models, "clients": _clients, "megapixels": _megapixels}
