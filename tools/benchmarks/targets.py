"""What is to be reached (``targets.toml``), and what was measured of it."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import pandas as pd

from tools.benchmarks.loop import TORCH
from tools.benchmarks.models import FP32, MODEL
from tools.benchmarks.parts.cold import ORIGINAL, OURS
from tools.benchmarks.parts.inference import OPENVINO
from tools.benchmarks.parts.servers import LIMIT, ONE_LOOP
from tools.benchmarks.paths import HERE
from tools.benchmarks.records import Results
from tools.benchmarks.servers import EAGER, PEERS, WAYS
from tools.benchmarks.servers import OURS as OUR_ENGINE
from tools.benchmarks.summary import Summary, by_round, difference, ratio

V1, V1_INT8 = "v1", "v1_int8"
SEVERAL = (8, 32)  # clients
# A target may cover several servers or ways: the summary of each, None where it has not run.
Covered = Mapping[str, Summary | None]


@dataclass(frozen=True)
class Target:
    """One row of the table of targets.

    Attributes:
        what: the quantity, in words.
        unit: of the bound; empty for a ratio.
        note: what stands in the way while it is not met.
    """

    id: str
    what: str
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    note: str = ""

    def is_met(self, value: float) -> bool:
        """Return whether a result reaches the bound."""
        is_enough = self.at_least is None or value >= self.at_least
        return is_enough and (self.at_most is None or value <= self.at_most)

    @property
    def wanted(self) -> str:
        """Return the bound in words."""
        side = "at least" if self.at_most is None else "at most"
        return f"{side} {self.at_least or self.at_most:g} {self.unit}".rstrip()

    def worst(self, results: Results) -> tuple[str, Summary] | None:
        """Return the worst of what the target covers, and its name; None if nothing has run."""
        covered = _latency if self.id.startswith("latency_") else COVERED[self.id]
        found = [(name, one) for name, one in covered(results, self.id).items() if one]
        found.sort(key=lambda pair: pair[1].median, reverse=self.at_least is None)
        return found[0] if found else None


def targets() -> list[Target]:
    """Return all targets, in the order of the file."""
    tables = tomllib.loads((HERE / "targets.toml").read_text(encoding="utf-8"))
    return [Target(key, **fields) for key, fields in tables.items()]


def server(results: Results, column: str, entrance: str, way: str, clients: int) -> pd.Series:
    """Return one figure of a server by round."""
    return by_round(results["servers"], column, entrance=entrance, way=way, clients=clients)


def starts(results: Results, what: str, model: str) -> pd.Series:
    """Return the seconds of one kind of start by round."""
    return by_round(results["cold"], "seconds", what=what, model=model)


def inferences(results: Results, model: str, engine: str, precision: str) -> pd.Series:
    """Return the milliseconds of single inferences by round."""
    wanted = {"model": model, "engine": engine, "precision": precision}
    return by_round(results["latency"], "inference_ms", **wanted)


def _limit(results: Results, identity: str) -> Covered:
    way, limit = (
        identity.removeprefix("limit_"),
        by_round(results["servers"], "rate", entrance=LIMIT),
    )
    rates = {clients: server(results, "rate", V1, way, clients) for clients in SEVERAL}
    return {f"{clients} clients": ratio(rates[clients], limit) for clients in SEVERAL}


def _alone(results: Results, _: str) -> Covered:
    bare_ms = by_round(results["servers"], "p50_ms", entrance=ONE_LOOP)
    return {"": ratio(server(results, "p50_ms", V1, "upload", 1), bare_ms)}


def _rates(results: Results, name: str, other: str) -> Covered:
    cases = product(WAYS, SEVERAL)
    rates = {case: [server(results, "rate", one, *case) for one in (name, other)] for case in cases}
    return {f"{way}, {clients} clients": ratio(*rates[way, clients]) for way, clients in rates}


def _peers(results: Results, identity: str) -> Covered:
    engine = EAGER if identity == "peers" else OUR_ENGINE
    found = {peer: _rates(results, V1, f"{peer}_{engine}") for peer in PEERS}
    return {f"{peer}, {case}": one for peer in found for case, one in found[peer].items()}


def _tail(results: Results, _: str) -> Covered:
    clients = max(SEVERAL)
    found = {}
    for way in WAYS:
        p99_ms, rate = (server(results, name, V1, way, clients) for name in ("p99_ms", "rate"))
        found[way] = ratio(p99_ms, 1000 * clients / rate)
    return found


def _cold(results: Results, _: str) -> Covered:
    return {MODEL: ratio(starts(results, OURS, MODEL), starts(results, ORIGINAL, MODEL))}


def _memory(results: Results, _: str) -> Covered:
    peaks = results["servers"].groupby(["entrance", "round"]).peak_mb.max()
    theirs = f"original_{EAGER}"
    has_both = {V1, theirs} <= {*peaks.index.get_level_values("entrance")}
    return {"": ratio(peaks[V1], peaks[theirs])} if has_both else {}


def _agreement(results: Results, _: str) -> Covered:
    rows = results["agreement"].itertuples()
    shares = {f"{row.model}, {row.pictures} pictures": row.same / row.pictures for row in rows}
    return {name: Summary.of([share]) for name, share in shares.items()}


def _latency(results: Results, identity: str) -> Covered:
    model, _, precision = identity.removeprefix("latency_").rpartition("_")
    ours = inferences(results, model, OPENVINO, precision)
    return {"": ratio(ours, inferences(results, model, TORCH, FP32))}


def _gateway(results: Results, _: str) -> Covered:
    names = ("v3_gateway", "v3_direct")
    both = {way: [server(results, "p50_ms", name, way, 1) for name in names] for way in WAYS}
    return {way: difference(*both[way]) for way in WAYS}


COVERED: Mapping[str, Callable[[Results, str], Covered]] = {
    "peers": _peers,
    "same_engine": _peers,
    "limit_upload": _limit,
    "limit_url": _limit,
    "alone": _alone,
    "tail": _tail,
    "cold": _cold,
    "memory": _memory,
    "int8": lambda results, _: _rates(results, V1_INT8, V1),
    "int8_agreement": _agreement,
    "gateway": _gateway,
}
