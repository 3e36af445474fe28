"""Attack, and write what came of it: ``python -m tools.attack [KIND...]``; see ``--help``."""

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.attack import callers, hosts, pictures, shapes
from tools.attack.target import Row
from tools.benchmarks.programs import exit_status, require_programs, say
from tools.benchmarks.results import machine, table

TITLES = ("what", "tried", "came of it", "goal", "held")
INTRODUCTION = """# Reliability

What a backend was attacked with, by `make attack`: a real server on loopback, started as a
container starts it, with [its limits](how-it-works.md#limits). While callers attack it, others ask
`/ready` ten times a second and send pictures. "Held" compares with the goal beside it.

`make attack` takes {minutes:.0f} minutes{short}; `ARGS=--quick` tries less of each, `ARGS=bombs`
one kind. It needs `wrk` and, for a name server of its own, root on Linux.
"""
TAKEN = "Taken on {cpu}, {cores} cores, seed {seed}.\n"
# What attacks, by its name here and in the document: each starts a backend of its own.
ATTACKS: Mapping[str, tuple[str, Callable[[argparse.Namespace], Iterator[Row]]]] = {
    "connections": ("Slow callers", callers.run_slow),
    "shapes": ("Shapes of http", shapes.run),
    "hosts": ("Private addresses", hosts.run),
    "damaged": ("Damaged pictures", pictures.run_damaged),
    "bombs": ("Small files that are much work", pictures.run_bombs),
    "overload": ("Overload", callers.run_many),
    "gateway": ("Overload", callers.run_gateway),
    "faults": ("Faults", callers.run_faults),
}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack",
        description="Attack a backend on this machine; exit with 1 where a goal is not held.",
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--quick", action="store_true", help="less of each: some minutes")
    parser.add_argument("--seed", type=int, default=20261126, help="of damage (else %(default)s)")
    parser.add_argument("--out", type=Path, help="write the document here")
    given = parser.parse_args(argv)
    if unknown := {*given.kinds} - {*ATTACKS}:
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    return given


def run(given: argparse.Namespace) -> int:
    """Attack, write the document and show it; return the exit status."""
    found, began = defaultdict[str, list[Row]](list), time.monotonic()
    require_programs()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each caller's connection takes one
    for kind in given.kinds or ATTACKS:
        title, attack = ATTACKS[kind]
        for row in attack(given):
            say(f"{title}: {'; '.join(row[:-1])}: {'held' if row.is_held else 'NOT HELD'}")
            found[title].append(row)
    text = _page(found, given, minutes=(time.monotonic() - began) / 60)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if all(row.is_held for rows in found.values() for row in rows) else 1


def _page(found: Mapping[str, Sequence[Row]], given: argparse.Namespace, *, minutes: float) -> str:
    short = " in this, its short form" if given.quick else ""
    sections = [INTRODUCTION.format(minutes=max(1, minutes), short=short)]
    for title, rows in found.items():
        cells = [(*row[:-1], "yes" if row.is_held else "**no**") for row in rows]
        sections.append(f"## {title}\n\n{table(TITLES, cells)}")
    return "\n".join([*sections, TAKEN.format(**machine(), seed=given.seed)])


if __name__ == "__main__":
    sys.exit(exit_status(partial(run, arguments(sys.argv[1:]))))
