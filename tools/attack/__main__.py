"""Attack, and write what came of it: ``python -m tools.attack [KIND...]``; see ``--help``."""

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.attack import connections, hosts, overload, pictures, shapes
from tools.attack.report import Row, page
from tools.benchmarks.programs import exit_status, require_programs, say

SEED = 20261126

# What attacks, by its name here and in the document: each starts a backend of its own.
ATTACKS: Mapping[str, tuple[str, Callable[[argparse.Namespace], Iterator[Row]]]] = {
    "connections": ("Slow callers", connections.run),
    "shapes": ("Shapes of http", shapes.run),
    "hosts": ("Private addresses", hosts.run),
    "damaged": ("Damaged pictures", pictures.run_damaged),
    "bombs": ("Small files that are much work", pictures.run_bombs),
    "overload": ("Overload", overload.run),
    "gateway": ("Overload", overload.run_gateway),
    "faults": ("Faults", overload.run_faults),
}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack",
        description="Attack a backend on this machine; exit with 1 where a goal is not held.",
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--quick", action="store_true", help="less of each: some minutes")
    parser.add_argument("--seed", type=int, default=SEED, help="of damage (default: %(default)s)")
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
            say(f"{title}: {row}")
            found[title].append(row)
    text = page(found, given, minutes=(time.monotonic() - began) / 60)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if all(row.is_held for rows in found.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(exit_status(partial(run, arguments(sys.argv[1:]))))
