"""Measure, and write the table: ``python -m tools.benchmarks [PART...]``; see ``--help``."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tools.benchmarks.machine import WITHOUT_MATRIX_UNITS, machine, uses_matrix_units, versions
from tools.benchmarks.parts import accuracy, cold, limit, servers
from tools.benchmarks.paths import DRAFTS
from tools.benchmarks.picture_host import require_programs
from tools.benchmarks.plan import FULL, QUICK, Plan
from tools.benchmarks.process import exit_status, say
from tools.benchmarks.records import Record, Results, Rows, keep
from tools.benchmarks.report import page
from tools.benchmarks.summary import shown

# What measures each part: yields rows, and adds remarks.
PARTS: Mapping[str, Callable[[Plan, list[str]], Rows]] = {
    "limit": limit.measure,
    "servers": servers.measure,
    "cold": cold.measure,
    "latency": limit.measure_latency,
    "accuracy": accuracy.measure,
}
REPORT = "report"
PAGE = "REPORT.md"
WITH, WITHOUT = "with_matrix_units", "without_matrix_units"  # folders of results


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks", description="Measure, and write the table."
    )
    known = (*PARTS, REPORT)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(known)}; default all")
    parser.add_argument("--quick", action="store_true", help="what fits into three minutes")
    parser.add_argument(
        "--photos", type=Path, help="labelled, for accuracy, as imgserve.evaluate takes them"
    )
    parser.add_argument(
        "--without-matrix-units", action="store_true", help="compute as on a CPU that has none"
    )
    parser.add_argument("--seconds", type=float, help="of each load, instead of the plan's")
    parser.add_argument("--servers", nargs="+", metavar="NAME", help="instead of the plan's")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return given


def _plan(given: argparse.Namespace) -> Plan:
    """Return what is to be measured; a plan that was changed is named so, and never committed."""
    plan = replace(QUICK if given.quick else FULL, photos=given.photos)
    changed: dict[str, Any] = {}
    if given.servers:
        changed["servers"] = tuple(given.servers)
    if given.seconds:
        changed |= {"loop_s": given.seconds, "load_s": dict.fromkeys(plan.load_s, given.seconds)}
    return replace(plan, name=f"changed {plan.name}", out=DRAFTS, **changed) if changed else plan


def _measure(plan: Plan, parts: Sequence[str]) -> None:
    """Measure these parts, or all that can be, and keep what was found."""
    wanted = [name for name in PARTS if name in (parts or PARTS)]
    if not parts and not plan.photos:
        wanted.remove("accuracy")
        say("accuracy is left out: it needs labelled photographs (PHOTOS=folder)")
    if wanted:
        require_programs()
    for name in wanted:
        began = time.monotonic()
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        record = Record(name, taken, plan.name, machine(), versions())
        with closing(PARTS[name](plan, record.remarks)) as rows:
            for row in rows:
                record.rows.append(row)
                say(f"{name}: {', '.join(f'{key} {shown(value)}' for key, value in row.items())}")
        say(f"{name}: {time.monotonic() - began:.0f} s; {keep(plan.out, record)}")


def run(given: argparse.Namespace) -> int:
    """Measure what was asked for, write the page, and show it; return the exit status."""
    if given.without_matrix_units:
        os.environ.update(WITHOUT_MATRIX_UNITS)
    plan = _plan(given)
    folder = plan.out
    own = folder / (WITH if uses_matrix_units() else WITHOUT)
    _measure(replace(plan, out=own), given.parts)
    text = page([Results(folder / WITH), Results(folder / WITHOUT)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(partial(run, arguments(sys.argv[1:]))))
