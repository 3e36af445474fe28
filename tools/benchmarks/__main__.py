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
from tools.benchmarks.machine import WITHOUT_MATRIX_UNITS, uses_matrix_units
from tools.benchmarks.parts import accuracy, cold, inference, limit, servers
from tools.benchmarks.paths import DRAFTS, RESULTS
from tools.benchmarks.picture_host import require_programs
from tools.benchmarks.plan import FULL, PLANS, QUICK, Plan
from tools.benchmarks.process import Failed, say
from tools.benchmarks.records import Record, Results, keep
from tools.benchmarks.report import page

ACCURACY = "accuracy"
# What measures each part: by the plan, the folder of results and the folder of photographs, if any.
PARTS: Mapping[str, Callable[[Plan, Path, Path | None], Record]] = {
    "limit": lambda plan, *_: limit.measure(plan),
    "servers": lambda plan, out, _: servers.measure(plan, limit.best_arrangement(Results(out))),
    "cold": lambda plan, *_: cold.measure(plan),
    "latency": lambda plan, *_: inference.measure(plan),
    ACCURACY: lambda plan, _, photos: accuracy.measure(plan, photos),
}
PHOTOS_HELP = f"labelled photographs for {ACCURACY}, as imgserve.evaluate takes them (also PHOTOS)"
REPORT = "report"
PAGE = "REPORT.md"
WITH, WITHOUT = "with_matrix_units", "without_matrix_units"  # folders of results


def arguments(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Return the command's arguments; the environment's QUICK, MATRIX_UNITS and PHOTOS count."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks", description="Measure, and write the table."
    )
    known = (*PARTS, REPORT)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(known)}; default all")
    by_default = QUICK if environ.get("QUICK", "") not in {"", "0"} else FULL
    photos = environ.get("PHOTOS") or None
    parser.add_argument("--photos", type=Path, default=photos, help=PHOTOS_HELP)
    parser.add_argument(
        "--without-matrix-units",
        action="store_true",
        default=environ.get("MATRIX_UNITS") == "0",
        help="compute as on a CPU that has none (also MATRIX_UNITS=0)",
    )
    parser.add_argument("--plan", choices=PLANS, default=by_default, help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, help="folder of results; by default only the full plan's are committed"
    )
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    parser.add_argument("--seconds", type=float, help="of each load, instead of the plan's")
    parser.add_argument("--servers", nargs="+", metavar="NAME", help="instead of the plan's")
    given = parser.parse_args(argv)
    if unknown := set(given.parts) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return given


def _changed(plan: Plan, given: argparse.Namespace) -> Plan:
    """Return a plan with what was given in place of its own."""
    load_s = dict.fromkeys(plan.load_s, given.seconds) if given.seconds else None
    changes = {"rounds": given.rounds, "loop_s": given.seconds, "load_s": load_s}
    changes["servers"] = tuple(given.servers or ())
    made = {field: value for field, value in changes.items() if value}
    return replace(plan, name=f"changed {plan.name}", **made) if made else plan


def _measure(plan: Plan, out: Path, parts: Sequence[str], photos: Path | None) -> None:
    """Measure these parts, or all that can be, and keep what was found."""
    wanted = [name for name in PARTS if name in (parts or PARTS)]
    if not parts and not photos:
        wanted.remove(ACCURACY)
        say("accuracy is left out: it needs labelled photographs (--photos)")
    if wanted:
        require_programs()
    for name in wanted:
        started = time.monotonic()
        path = keep(out, PARTS[name](plan, out, photos))
        say(f"{name}: {time.monotonic() - started:.0f} s; {path}")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what was asked; return the exit status."""
    given = arguments(argv, environ)
    plan = _changed(PLANS[given.plan], given)
    if given.without_matrix_units:
        os.environ.update(WITHOUT_MATRIX_UNITS)
    folder = given.out or (RESULTS if plan.name == FULL else DRAFTS)
    out = folder / (WITH if uses_matrix_units() else WITHOUT)
    # SIGTERM ends it as Ctrl-C does: everything it started is stopped. A shell's background jobs
    # ignore Ctrl-C unless told otherwise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        _measure(plan, out, given.parts, given.photos)
    except (Failed, ImgserveError) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return 130  # as a shell says it: 128 and the signal's number
    text = page([Results(folder / WITH), Results(folder / WITHOUT)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
