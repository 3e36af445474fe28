"""What is to be reached (``targets.toml``), and what was measured of it."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import pandas as pd

from imgserve.models.compiled_model import FP32
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.parts.cold import ORIGINAL, OURS
from tools.benchmarks.parts.limit import OPENVINO, TORCH
from tools.benchmarks.parts.servers import LIMIT
from tools.benchmarks.paths import HERE, LARGE, SMALL
from tools.benchmarks.records import Results
from tools.benchmarks.servers import EAGER, PEERS, WAYS
from tools.benchmarks.servers import OURS as OUR_ENGINE
from tools.benchmarks.summary import Summary, by_round, summary

V1 = "v1"
SEVERAL = (8, 32)  # clients
OTHERS = [peer for peer in PEERS if peer != ORIGINAL]
# A target may cover several servers or ways: the summary of each, None where it has not run.
Covered = Mapping[str, Summary | None]


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    id: str  # the quantity's name in COVERED, and what it takes
    what: str  # the quantity, in words
    # On CPUs with matrix units, and without.
    at_least: tuple[float, float] | None = None
    at_most: tuple[float, float] | None = None
    unit: str = ""  # of the bound; empty for a ratio
    note: str = ""  # what stands in the way while it is not met

    def is_met(self, value: float, kind: int) -> bool:
        """Return whether a result reaches the bound, with (0) or without (1) matrix units."""
        if self.at_most is None:
            return value >= self._bounds[kind]
        return value <= self._bounds[kind]

    @property
    def _bounds(self) -> tuple[float, float]:
        return self.at_least or self.at_most or (0, 0)

    @property
    def wanted(self) -> str:
        """Return the bounds in words."""
        side = "at least" if self.at_most is None else "at most"
        bounds = ", ".join(f"{bound:g}" for bound in dict.fromkeys(self._bounds))
        return f"{side} {bounds} {self.unit}".rstrip()

    def worst(self, results: Results) -> tuple[str, Summary] | None:
        """Return the worst of what the target covers, and its name; None if nothing has run."""
        name, *arguments = self.id.split()
        covered = COVERED[name](results, *arguments)
        found = [(name, one) for name, one in covered.items() if one]
        found.sort(key=lambda pair: pair[1].median, reverse=self.at_least is None)
        return found[0] if found else None


def targets() -> list[Target]:
    """Return all targets, in the order of the file."""
    tables = tomllib.loads((HERE / "targets.toml").read_text(encoding="utf-8"))
    return [Target(key, **fields) for key, fields in tables.items()]


def server(results: Results, column: str, entrance: str, **wanted: object) -> pd.Series:
    """Return one figure of a server by round: ``way`` and ``clients`` say which."""
    wanted = {"entrance": entrance, "megapixels": SMALL, **wanted}
    return by_round(results["servers"], column, **wanted)


def starts(results: Results, what: str, model: str = MODEL) -> pd.Series:
    """Return the seconds of one kind of start by round."""
    return by_round(results["cold"], "seconds", what=what, model=model)


def inferences(results: Results, model: str, engine: str, precision: str) -> pd.Series:
    """Return the milliseconds of single inferences by round."""
    wanted = {"model": model, "engine": engine, "precision": precision}
    return by_round(results["latency"], "inference_ms", **wanted)


def _rates(
    results: Results, others: Iterable[str], clients: Iterable[int], megapixels: float = SMALL
) -> Covered:
    covered = {}
    for other, way, count in product(others, WAYS, clients):
        asked = {"way": way, "clients": count, "megapixels": megapixels}
        ours, theirs = (server(results, "rate", name, **asked) for name in (V1, other))
        covered[f"{other}, {way}, {count} client{'s' * (count > 1)}"] = summary(ours / theirs)
    return covered


def _as_they_come(*peers: str) -> Callable[..., Covered]:
    names = [f"{peer}_{EAGER}" for peer in peers]
    return lambda results, megapixels: _rates(results, names, SEVERAL, float(megapixels))


def _same_engine(results: Results, *clients: str) -> Covered:
    return _rates(results, [f"{peer}_{OUR_ENGINE}" for peer in PEERS], map(int, clients))


def _limit(results: Results, way: str) -> Covered:
    limit = server(results, "rate", LIMIT)
    rates = {count: server(results, "rate", V1, way=way, clients=count) for count in SEVERAL}
    return {f"{count} clients": summary(rate / limit) for count, rate in rates.items()}


def _growth(results: Results) -> Covered:
    asked = {"way": "url", "clients": min(SEVERAL)}
    small = server(results, "rate", V1, **asked)
    return {"": summary(small / server(results, "rate", V1, megapixels=LARGE, **asked))}


def _accuracy(results: Results, precision: str) -> Covered:
    rows = results["accuracy"]
    points = 100 * (rows.top1 / rows.pictures).set_axis([rows.way, rows.megapixels])
    less = points.get(TORCH, points[:0]) - points.get(precision, points[:0])
    return {f"{size:g} megapixels": summary([value]) for size, value in less.items()}


def _tail(results: Results) -> Covered:
    found = {}
    for way in WAYS:
        asked = {"way": way, "clients": max(SEVERAL)}
        p99_ms, rate = (server(results, name, V1, **asked) for name in ("p99_ms", "rate"))
        found[way] = summary(p99_ms * rate / (1000 * max(SEVERAL)))
    return found


def _memory(results: Results) -> Covered:
    ours, theirs = (
        server(results, "peak_mb", name).groupby("round").max()
        for name in (V1, f"{ORIGINAL}_{EAGER}")
    )
    return {"": summary(ours / theirs)}


def _gateway(results: Results) -> Covered:
    through, direct = (
        {way: server(results, "p50_ms", name, way=way, clients=1) for way in WAYS}
        for name in ("v3_gateway", "v3_direct")
    )
    return {way: summary(through[way] - direct[way]) for way in WAYS}


COVERED: Mapping[str, Callable[..., Covered]] = {
    "original": _as_they_come(ORIGINAL),
    "peers": _as_they_come(*OTHERS),
    "same_engine": _same_engine,
    "limit": _limit,
    "growth": _growth,
    "latency": lambda results, model: {
        "": summary(
            inferences(results, model, OPENVINO, AUTO) / inferences(results, model, TORCH, FP32)
        )
    },
    "accuracy": _accuracy,
    "tail": _tail,
    "cold": lambda results: {
        MODEL: summary(starts(results, OURS) / starts(results, ORIGINAL)),
    },
    "memory": _memory,
    "gateway": _gateway,
}
