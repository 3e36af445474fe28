"""The page: each target with its result, then what is behind it."""

from tools.benchmarks import tables
from tools.benchmarks.records import Record, Results
from tools.benchmarks.summary import table
from tools.benchmarks.targets import Target, targets

INTRODUCTION = """# The benchmark's results

Written by `python -m tools.benchmarks report`. Ratios are of one round, medians over the rounds
(the least to the most in brackets); only ratios within one run say anything, since the machine's
speed changes from hour to hour. Where a target covers several servers or ways, the worst counts.
"""
SECTIONS = {
    "The limit": tables.limit,
    "Servers": tables.servers,
    "Cold start": tables.cold,
    "One inference alone": tables.latency,
    "int8 and fp32": tables.agreement,
}
ONCE = "Measured once, by an earlier form of the benchmark.\n"
MEASURED_ONCE = {
    "Where the time of a JPEG goes": "jpegs",
    "Stages, in ms": "stages",
    "Growth": "growth",
    "Several models at one address": "strategies",
    "How a model comes to a container": "starts",
}


def page(results: Results) -> str:
    """Return the page about a folder of results."""
    rows = [_target(target, results) for target in targets()]
    sections = {"Targets": table(("what", "target", "result", "met", "note"), rows)}
    sections |= {title: make(results) for title, make in SECTIONS.items()}
    for title, name in MEASURED_ONCE.items():
        if text := results.once("tables", name):
            sections[title] = f"{ONCE}\n{text}"
    sections["Taken"] = _taken(results.records)
    filled = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n".join([INTRODUCTION, *filled])


def _target(target: Target, results: Results) -> tuple[str, ...]:
    worst = target.worst(results)
    if worst is None:
        return target.what, target.wanted, "not measured", "", target.note
    name, summary = worst
    unit = f" {target.unit}" if target.unit else ""
    shown = f"{summary}{unit}" + (f"; {name}" if name else "")
    if target.is_met(summary.median):
        return target.what, target.wanted, shown, "yes", ""
    return target.what, target.wanted, shown, "**no**", target.note


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
