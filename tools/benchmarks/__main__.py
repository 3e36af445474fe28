"""Measure, and write the table: ``python -m tools.benchmarks [PART...]``; see ``--help``."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imgserve.errors import ImgserveError
from tools.benchmarks.parts import (
    agreement,
    cold,
    growth,
    latency,
    limit,
    servers,
    stages,
    starts,
    strategies,
)
from tools.benchmarks.places import PASSING, RESULTS
from tools.benchmarks.plan import PLANS, Plan
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.processes.picture_host import require_programs
from tools.benchmarks.record import Record, keep
from tools.benchmarks.report.best import best_arrangement
from tools.benchmarks.report.page import page
from tools.benchmarks.say import say

Measure = Callable[[Plan, Path], Record]

PARTS: Mapping[str, Measure] = {
    "limit": lambda plan, _: limit.measure(plan),
    "servers": lambda plan, folder: servers.measure(plan, best_arrangement(folder)),
    "cold": lambda plan, _: cold.measure(plan),
    "latency": lambda plan, _: latency.measure(plan),
    "agreement": lambda plan, _: agreement.measure(plan),
    "stages": lambda plan, _: stages.measure(plan),
    "growth": lambda plan, _: growth.measure(plan),
    "strategies": lambda plan, _: strategies.measure(plan),
    "starts": lambda plan, _: starts.measure(plan),
}
REPORT = "report"
PAGE = "REPORT.md"


def arguments(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Return the command's arguments; ``QUICK=1`` in the environment asks for the quick plan."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks", description="Measure, and write the table."
    )
    known = (*PARTS, REPORT)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; all without any"
    )
    by_default = "quick" if environ.get("QUICK", "") not in {"", "0"} else "full"
    parser.add_argument("--plan", choices=PLANS, default=by_default, help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, help="where results are kept; by default only the full plan's are"
    )
    parser.add_argument("--rounds", type=int, help="of all parts but cold start and latency")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return given


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what was asked; return the exit status."""
    given = arguments(argv, environ)
    plan: Plan = PLANS[given.plan]
    if given.rounds:
        each = dict.fromkeys(("rounds", "strategy_rounds", "start_rounds"), given.rounds)
        plan = replace(plan, **each)
    folder: Path = given.out or (RESULTS if plan.is_kept else PASSING)
    wanted = given.parts or [*PARTS]
    # Told to end, it ends as by Ctrl-C: whatever it started is stopped. What a shell starts in the
    # background ignores Ctrl-C otherwise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        require_programs()
        for name in PARTS:
            if name in wanted:
                _measure(name, plan, folder)
        return _report(folder)
    except (Failed, ImgserveError) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return 130  # as a shell says it: 128 and the signal's number


def _measure(name: str, plan: Plan, folder: Path) -> None:
    started = time.monotonic()
    path = keep(folder, PARTS[name](plan, folder))
    say(f"{name}: {time.monotonic() - started:.0f} s; {path}")


def _report(folder: Path) -> int:
    text = page(folder)
    (folder / PAGE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
