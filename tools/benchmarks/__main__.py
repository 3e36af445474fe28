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

from tools.benchmarks import alone, results, servers
from tools.benchmarks.plan import DRAFTS, FULL, QUICK, Plan
from tools.benchmarks.programs import exit_status, require_programs, say
from tools.benchmarks.report import page

# What measures each part: yields rows, and adds remarks.
PARTS: Mapping[str, Callable[[Plan, list[str]], results.Rows]] = {
    "limit": alone.measure_limit,
    "servers": servers.measure_servers,
    "cold": servers.measure_cold,
    "latency": alone.measure_latency,
    "accuracy": alone.measure_accuracy,
}
REPORT = "report"
PAGE = "REPORT.md"
WITH, WITHOUT = "with_matrix_units", "without_matrix_units"  # folders of results


def arguments(argv: Sequence[str]) -> argparse.Namespace:
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
    parser.add_argument("--servers", nargs="+", metavar="NAME", help="instead of the plan's")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return given


def _measure(plan: Plan, parts: Sequence[str]) -> None:
    """Measure these parts, or all that can be, and keep what was found."""
    wanted = [name for name in PARTS if name in (parts or PARTS)]
    if not parts and not plan.photos:
        wanted.remove("accuracy")
        say("accuracy is left out: it needs labelled photographs (PHOTOS=folder)")
    if wanted:
        require_programs()
    for name in wanted:
        began, taken = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        record = results.Record(name, taken, plan.name, results.machine(), results.versions())
        with closing(PARTS[name](plan, record.remarks)) as rows:
            for row in rows:
                record.rows.append(row)
                cells = (f"{key} {results.shown(value)}" for key, value in row.items())
                say(f"{name}: {', '.join(cells)}")
        say(f"{name}: {time.monotonic() - began:.0f} s; {record.keep(plan.out)}")


def run(given: argparse.Namespace) -> int:
    """Measure what was asked for, write the page, and show it; return the exit status."""
    if given.without_matrix_units:
        os.environ.update(results.WITHOUT_MATRIX_UNITS)
    plan = replace(QUICK if given.quick else FULL, photos=given.photos)
    if given.servers:  # results without the others are never committed
        plan = replace(plan, servers=tuple(given.servers), out=DRAFTS)
    folder = plan.out
    own = folder / (WITHOUT if results.machine()["amx"] in {"no", results.UNUSED} else WITH)
    _measure(replace(plan, out=own), given.parts)
    text = page([results.Results(folder / WITH), results.Results(folder / WITHOUT)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(partial(run, arguments(sys.argv[1:]))))
