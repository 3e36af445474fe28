"""The page: each target with its results, then the tables behind them, one for each part."""

from collections.abc import Sequence

import pandas as pd

from imgserve.models.compiled_model import FP32
from tools.benchmarks.parts.cold import IMPORTS, ORIGINAL
from tools.benchmarks.parts.limit import ENGINE, TORCH, WHOLE, Arrangement
from tools.benchmarks.parts.servers import NO_CLIENTS
from tools.benchmarks.records import Record, Results
from tools.benchmarks.summary import by_round, groups, summary, table
from tools.benchmarks.targets import Target, inferences, starts, targets

INTRODUCTION = """# The benchmark's results

Written by `python -m tools.benchmarks report`. Ratios are of one round, medians over the rounds
(the least to the most in brackets); only ratios within one run say anything, since the machine's
speed changes from hour to hour. Where a target covers several servers or ways, the worst counts.
Matrix units (AMX) compute bf16 and int8; "without" is the same machine told to do without them,
unless it has none. A target with two bounds has one for each.
"""
KINDS = ("with matrix units", "without")


def limit(results: Results) -> str:
    """Return the rates of all arrangements: all of the work, and the inference alone."""
    cells = []
    for (precision,), rows in groups(results["limit"], "precision"):
        rates = {
            Arrangement(*way): [by_round(own, "rate", work=work) for work in (WHOLE, ENGINE)]
            for way, own in groups(rows, *Arrangement._fields)
        }
        best = max(rates, key=lambda way: float(rates[way][0].median()))
        for way, both in rates.items():
            name = f"**{way}**" if way == best else str(way)
            cells.append((precision, name, *map(summary, both)))
    return table(("precision", "arrangement", "pictures a second", "engine alone"), cells)


def servers(results: Results) -> str:
    """Return what every server did, each way, for each number of clients; and what is left out."""
    record = results.records.get("servers")
    cores = int(record.machine.get("cores", 1)) if record else 1
    columns = ("way", "megapixels", "clients", "entrance")
    found = sorted(groups(results["servers"], *columns), key=lambda group: group[0][:3])
    cells = [
        (way, f"{size:g}", "" if clients == NO_CLIENTS else clients, name, *_load(rows, cores))
        for (way, size, clients, name), rows in found
    ]
    asked = ("way", "megapixels", "clients", "server", "answers a second")
    taken = ("p50, ms", "p99, ms", "peak, MB", "CPU s per 1000", "MB s per 1000")
    titles = (*asked, *taken, "wrk and nginx, of all cores")
    return _invalid(results.invalid) + table(titles, cells)


def _load(rows: pd.DataFrame, cores: int) -> tuple[object, ...]:
    thousands = rows.answers / 1000
    shares = (rows.generator_cpu_s + rows.host_cpu_s) / (rows.seconds * cores)
    return (
        summary(rows.rate),
        float(rows.p50_ms.median()),
        float(rows.p99_ms.median()),
        float(rows.peak_mb.max()),
        float((rows.server_cpu_s / thousands).median()),
        float((rows.peak_mb * rows.seconds / thousands).median()),
        f"{100 * shares.median():.1f} %",
    )


def _invalid(rows: pd.DataFrame) -> str:
    lines = [
        f"- {row.entrance}, {row.way}, {row.megapixels} MP, {row.clients} clients, "
        f"round {row.round + 1}: {row.failed} of {row.answers} failed\n"
        for row in rows.itertuples()
    ]
    if not lines:
        return ""
    return "Left out, because not all answers were right:\n\n" + "".join(lines) + "\n"


def cold(results: Results) -> str:
    """Return the starts of every model, and their ratio to the original's."""
    imports, cells = starts(results, IMPORTS, ""), []
    for (model, what), _ in groups(results["cold"], "model", "what"):
        taken = starts(results, what, model)
        against = [taken, taken / starts(results, ORIGINAL, model), taken / imports]
        cells.append((model, what, *map(summary, against)))
    return table(("model", "what", "seconds", "of the original's", "of the imports'"), cells)


def latency(results: Results) -> str:
    """Return single inferences of every model, and their ratio to eager torch."""
    cells = []
    for key, _ in groups(results["latency"], "model", "engine", "precision"):
        taken = inferences(results, *key)
        torch = inferences(results, key[0], TORCH, FP32)
        cells.append((*key, summary(taken), summary(taken / torch)))
    return table(("model", "engine", "precision", "ms", "of eager torch's"), cells)


def accuracy(results: Results) -> str:
    """Return how often each way of computing is right about labelled photographs."""
    titles = ("model", "megapixels", "computed in", "pictures", "right", "among five")
    return table(titles, results["accuracy"].itertuples(index=False))


SECTIONS = {
    "The limit": limit,
    "Servers": servers,
    "Cold start": cold,
    "One inference alone": latency,
    "Accuracy": accuracy,
}


def page(found: Sequence[Results]) -> str:
    """Return the page about the results with matrix units and without."""
    rows = [_target(target, found) for target in targets()]
    titles = ("what", "target", KINDS[0], "met", KINDS[1], "met", "note")
    sections = {"Targets": table(titles, rows)}
    for title, make in SECTIONS.items():
        for kind, results in zip(KINDS, found, strict=True):
            sections[f"{title}, {kind}"] = make(results)
    for kind, results in zip(KINDS, found, strict=True):
        sections[f"Taken, {kind}"] = _taken(results.records)
    filled = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n".join([INTRODUCTION, *filled])


def _target(target: Target, found: Sequence[Results]) -> tuple[str, ...]:
    cells, is_missed = [], False
    for kind, results in enumerate(found):
        worst = target.worst(results)
        if worst is None:
            cells += ["not measured", ""]
            continue
        name, summary = worst
        unit = f" {target.unit}" if target.unit else ""
        is_met = target.is_met(summary.median, kind)
        is_missed |= not is_met
        cells += [f"{summary}{unit}" + (f"; {name}" if name else ""), "yes" if is_met else "**no**"]
    return target.what, target.wanted, *cells, target.note if is_missed else ""


def _taken(records: dict[str, Record]) -> str:
    """Return when each part was measured; the machine and the versions once for parts alike."""
    lines: dict[str, list[str]] = {}
    for name, record in records.items():
        machine = dict(record.machine)
        load = machine.pop("load before", "")
        alike = f"- {_listed(machine)}\n- {_listed(record.versions)}\n"
        remarks = "".join(f"; {remark}" for remark in record.remarks)
        lines.setdefault(alike, []).append(
            f"  - {name}: {record.plan}, {record.taken}, load before {load}{remarks}\n"
        )
    return "".join(alike + "".join(parts) for alike, parts in lines.items())


def _listed(values: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
