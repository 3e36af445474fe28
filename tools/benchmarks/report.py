"""The page: each target (``targets.toml``) with its results, then the tables behind them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import msgspec
import pandas as pd

from tools.benchmarks.alone import ENGINE, OPENVINO, TORCH, WHOLE, Arrangement
from tools.benchmarks.models import AUTO
from tools.benchmarks.plan import HERE, LARGE, MODEL, SMALL
from tools.benchmarks.results import COLUMNS, Results, Summary, by_round, summary, table
from tools.benchmarks.servers import EAGER, LIMIT, ORIGINAL, OURS, PEERS, WAYS

INTRODUCTION = """# The benchmark's results

Written by `python -m tools.benchmarks report`. Ratios are of one round, medians over the rounds
(the least to the most in brackets); only ratios within one run say anything, since the machine's
speed changes from hour to hour. Where a target covers several servers or ways, the worst counts.
Matrix units (AMX) compute bf16 and int8; "without" is the same machine told to do without them,
unless it has none. A target with two bounds has one for each.
"""
KINDS = ("with matrix units", "without")
V1 = "v1"
SEVERAL = (8, 32)  # clients
OTHERS = [peer for peer in PEERS if peer != ORIGINAL]
# A target may cover several servers or ways: of each the rounds, none where it has not run.
Covered = Mapping[str, Iterable[float]]


class Target(msgspec.Struct):
    """One row of the table of targets; its key names the quantity in COVERED, and what it takes."""

    what: str
    bounds: list[float]  # on CPUs with matrix units, and without
    is_most: bool = False  # what is allowed at most, not what is wanted at least
    unit: str = ""  # empty for a ratio
    note: str = ""  # what stands in the way while it is not met

    def worst(self, key: str, results: Results) -> tuple[str, Summary] | None:
        """Return the worst of what it covers, and its name; None if nothing has run."""
        quantity, *words = key.split()
        covered = COVERED[quantity](results, *words)
        found = [(name, one) for name, values in covered.items() if (one := summary(values))]
        pick = max if self.is_most else min
        return pick(found, key=lambda pair: pair[1].median, default=None)


def targets() -> dict[str, Target]:
    return msgspec.toml.decode((HERE / "targets.toml").read_bytes(), type=dict[str, Target])


def _server(results: Results, column: str, entrance: str = V1, **wanted: object) -> pd.Series:
    wanted = {"entrance": entrance, "megapixels": SMALL, **wanted}
    return by_round(results["servers"], column, **wanted)


def _rates(
    results: Results, peers: Iterable[str], engine: str, clients: Iterable[int], size: float = SMALL
) -> Covered:
    found = {}
    for peer, way, count in product(peers, WAYS, clients):
        other, asked = f"{peer}_{engine}", {"way": way, "clients": count, "megapixels": size}
        ours, theirs = (_server(results, "rate", name, **asked) for name in (V1, other))
        found[f"{other}, {way}, {count} client{'s' * (count > 1)}"] = ours / theirs
    return found


def _limit(results: Results, way: str) -> Covered:
    limit = _server(results, "rate", LIMIT)
    rates = {count: _server(results, "rate", way=way, clients=count) for count in SEVERAL}
    return {f"{count} clients": rate / limit for count, rate in rates.items()}


def _growth(results: Results) -> Covered:
    asked = {"way": "url", "clients": min(SEVERAL)}
    small = _server(results, "rate", V1, **asked)
    return {"": small / _server(results, "rate", V1, megapixels=LARGE, **asked)}


def _latency(results: Results, model: str) -> Covered:
    rows, column = results["latency"], "inference_ms"
    ours = by_round(rows, column, model=model, engine=OPENVINO, precision=AUTO)
    return {"": ours / by_round(rows, column, model=model, engine=TORCH)}


def _accuracy(results: Results, precision: str) -> Covered:
    rows = results["accuracy"]
    points = 100 * (rows.top1 / rows.pictures).set_axis([rows.way, rows.megapixels])
    less = points.get(TORCH, points[:0]) - points.get(precision, points[:0])
    return {f"{size:g} megapixels": [value] for size, value in less.items()}


def _tail(results: Results) -> Covered:
    def figure(column: str, way: str) -> pd.Series:
        return _server(results, column, way=way, clients=max(SEVERAL))

    share_s = 1 / (1000 * max(SEVERAL))
    return {way: figure("p99_ms", way) * figure("rate", way) * share_s for way in WAYS}


def _cold(results: Results) -> Covered:
    ours, theirs = (
        by_round(results["cold"], "seconds", what=what, model=MODEL) for what in (OURS, ORIGINAL)
    )
    return {MODEL: ours / theirs}


def _memory(results: Results) -> Covered:
    ours, theirs = (
        _server(results, "peak_mb", name).groupby("round").max()
        for name in (V1, f"{ORIGINAL}_{EAGER}")
    )
    return {"": ours / theirs}


def _gateway(results: Results) -> Covered:
    def p50_ms(entrance: str, way: str) -> pd.Series:
        return _server(results, "p50_ms", entrance, way=way, clients=1)

    return {way: p50_ms("v3_gateway", way) - p50_ms("v3_direct", way) for way in WAYS}


COVERED: Mapping[str, Callable[..., Covered]] = {
    "original": lambda results, size: _rates(results, [ORIGINAL], EAGER, SEVERAL, float(size)),
    "peers": lambda results, size: _rates(results, OTHERS, EAGER, SEVERAL, float(size)),
    "same_engine": lambda results, *clients: _rates(results, PEERS, OURS, [*map(int, clients)]),
    "limit": _limit,
    "growth": _growth,
    "latency": _latency,
    "accuracy": _accuracy,
    "tail": _tail,
    "cold": _cold,
    "memory": _memory,
    "gateway": _gateway,
}


def _target_row(key: str, target: Target, found: Sequence[Results]) -> tuple[str, ...]:
    cells, is_missed = [], False
    for results, bound in zip(found, target.bounds, strict=True):
        worst = target.worst(key, results)
        if worst is None:
            cells += ["not measured", ""]
            continue
        name, summary = worst
        is_met = summary.median <= bound if target.is_most else summary.median >= bound
        is_missed |= not is_met
        text = f"{summary} {target.unit}".rstrip() + (f"; {name}" if name else "")
        cells += [text, "yes" if is_met else "**no**"]
    bounds = ", ".join(f"{bound:g}" for bound in dict.fromkeys(target.bounds))
    wanted = f"at {'most' if target.is_most else 'least'} {bounds} {target.unit}".rstrip()
    return target.what, wanted, *cells, target.note if is_missed else ""


def _limit_table(results: Results) -> str:
    keys = ["precision", *Arrangement._fields]
    cells = [
        (*key, *(summary(by_round(rows, "rate", work=work)) for work in (WHOLE, ENGINE)))
        for key, rows in results["limit"].groupby(keys, sort=False)
    ]
    return table((*keys, "pictures a second", "engine alone"), cells)


def _servers_table(results: Results) -> str:
    """Return what every server did, each way, for each number of clients; and what is left out."""
    keys = ["way", "megapixels", "clients", "entrance"]
    found = sorted(results["servers"].groupby(keys, sort=False), key=lambda group: group[0][:3])
    cells = []
    for key, rows in found:
        thousands = rows.answers / 1000
        spent = (rows.server_cpu_s, rows.peak_mb * rows.seconds)
        costs = [(cost / thousands).median() for cost in spent]
        figures = (rows.p50_ms.median(), rows.p99_ms.median(), rows.peak_mb.max(), *costs)
        cells.append((*key, summary(rows.rate), *figures))
    taken = ("answers a second", "p50, ms", "p99, ms", "peak, MB")
    titles = (*keys, *taken, "CPU s per 1000", "MB s per 1000")
    left_out = [
        f"- {row.entrance}, {row.way}, {row.megapixels} MP, {row.clients} clients, "
        f"round {row.round + 1}: {row.failed} of {row.answers} failed\n"
        for row in results.invalid.itertuples()
    ]
    if left_out:
        left_out = ["Left out, because not all answers were right:\n\n", *left_out, "\n"]
    return "".join(left_out) + table(titles, cells)


def _compared(results: Results, part: str, **base: str) -> str:
    """Return a part's figure, and its ratio to that of the base with the same model."""
    _, *keys, figure = COLUMNS[part].split()
    cells = []
    for key, rows in results[part].groupby(keys, sort=False):
        taken = by_round(rows, figure)
        ratio = taken / by_round(results[part], figure, model=key[0], **base)
        cells.append((*key, summary(taken), summary(ratio)))
    return table((*keys, figure, *(f"against {name}" for name in base.values())), cells)


def _taken(results: Results) -> str:
    """Return when each part was measured; the machine and the versions once for parts alike."""
    lines: dict[str, list[str]] = {}
    for name, record in results.records.items():
        machine = dict(record.machine)
        load = machine.pop("load before", "")
        alike = "".join(
            f"- {', '.join(f'{key} {value}' for key, value in values.items())}\n"
            for values in (machine, record.versions)
        )
        remarks = "".join(f"; {remark}" for remark in record.remarks)
        lines.setdefault(alike, []).append(
            f"  - {name}: {record.plan}, {record.taken}, load before {load}{remarks}\n"
        )
    return "".join(alike + "".join(parts) for alike, parts in lines.items())


SECTIONS: Mapping[str, Callable[[Results], str]] = {
    "The limit": _limit_table,
    "Servers": _servers_table,
    "Cold start": lambda results: _compared(results, "cold", what=ORIGINAL),
    "One inference alone": lambda results: _compared(results, "latency", engine=TORCH),
    "Accuracy": lambda results: table(
        COLUMNS["accuracy"].split(), results["accuracy"].itertuples(index=False)
    ),
    "Taken": _taken,
}


def page(found: Sequence[Results]) -> str:
    """Return the page about the results with matrix units and without."""
    rows = [_target_row(key, target, found) for key, target in targets().items()]
    titles = ("what", "target", KINDS[0], "met", KINDS[1], "met", "note")
    sections = {"Targets": table(titles, rows)}
    for title, make in SECTIONS.items():
        for kind, results in zip(KINDS, found, strict=True):
            sections[f"{title}, {kind}"] = make(results)
    filled = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n".join([INTRODUCTION, *filled])
