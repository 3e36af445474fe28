"""The page: each target with its result, then what is behind it."""

import tomllib
from pathlib import Path

from tools.benchmarks.places import ROOT
from tools.benchmarks.record import Record
from tools.benchmarks.report import details, offering
from tools.benchmarks.report.growth import growth
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.report.results import Result, results
from tools.benchmarks.report.table import section, table
from tools.benchmarks.targets import TARGETS, Target

# A sentence for each target that is not met, by its id.
NOTES = ROOT / "benchmarks" / "notes.toml"
INTRODUCTION = """# The benchmark's results

Written by `python -m tools.benchmarks report`. Ratios are of one round, medians over the rounds
(the least to the most in brackets); only ratios within one run say anything, since the machine's
speed changes from hour to hour. Where a target covers several servers or ways, the worst counts.
"""


def page(folder: Path) -> str:
    """Return the page about a folder of results."""
    measured = Measured.read(folder)
    lines, steps = growth(measured)
    sections = (
        section("Targets", _targets(results(measured), notes())),
        section("The limit", details.limit(measured)),
        section("Servers", _invalid(measured), details.servers(measured)),
        section("Cold start", details.cold(measured)),
        section("One inference alone", details.latency(measured)),
        section("int8 and fp32", details.agreement(measured)),
        section("Stages, in ms", details.stages(measured)),
        section("Growth", lines, steps),
        section("Several models at one address", offering.strategies(measured)),
        section("How a model comes to a container", offering.starts(measured)),
        section("Taken", _taken(measured.records)),
    )
    return "\n".join([INTRODUCTION, *filter(None, sections)])


def notes() -> dict[str, str]:
    """Return what stands in the way of a target, by its id."""
    try:
        return tomllib.loads(NOTES.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _targets(found: dict[str, Result | None], noted: dict[str, str]) -> str:
    cells = [_target(target, found[target.id], noted.get(target.id, "")) for target in TARGETS]
    return table(("what", "target", "result", "met", "note"), cells)


def _target(target: Target, result: Result | None, note: str) -> tuple[str, ...]:
    if result is None:
        return target.what, target.wanted, "not measured", "", note
    unit = f" {target.unit}" if target.unit else ""
    shows = f"{result.spread}{unit}" + (f"; {result.of}" if result.of else "")
    is_met = target.is_met(result.spread.median)
    return target.what, target.wanted, shows, "yes" if is_met else "**no**", "" if is_met else note


def _invalid(measured: Measured) -> str:
    if not measured.invalid:
        return ""
    lines = [
        f"- {row.entrance}, {row.way}, {row.clients} clients, round {row.round + 1}: "
        f"{row.failed} of {row.answers} failed"
        for row in measured.invalid
    ]
    return "Left out, because not all answers were right:\n\n" + "\n".join(lines) + "\n"


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
