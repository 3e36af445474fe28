"""The page: each target with its results, then what is behind them."""

from collections.abc import Sequence

from tools.benchmarks import tables
from tools.benchmarks.records import Record, Results
from tools.benchmarks.summary import table
from tools.benchmarks.targets import Target, targets

INTRODUCTION = """# The benchmark's results

Written by `python -m tools.benchmarks report`. Ratios are of one round, medians over the rounds
(the least to the most in brackets); only ratios within one run say anything, since the machine's
speed changes from hour to hour. Where a target covers several servers or ways, the worst counts.
Matrix units (AMX) compute bf16 and int8; "without" is the same machine told to do without them,
unless it has none. A target with two bounds has one for each.
"""
KINDS = ("with matrix units", "without")
SECTIONS = {
    "The limit": tables.limit,
    "Servers": tables.servers,
    "Cold start": tables.cold,
    "One inference alone": tables.latency,
    "Accuracy": tables.accuracy,
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
