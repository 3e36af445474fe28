"""Attack, and write what came of it: ``python -m tools.attack [KIND...]``; see ``--help``."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tools.attack import connections, hosts, overload, pictures, shapes
from tools.attack.report import Row, page
from tools.attack.target import Target, backend
from tools.benchmarks.picture_host import require_programs
from tools.benchmarks.process import Failed, say

SEED = 20261126

# What attacks, by its kind: a backend of its own in each case.
Attack = Callable[[argparse.Namespace], Iterator[Row]]


def _on_backend(attack: Callable[[Target, argparse.Namespace], Iterator[Row]]) -> Attack:
    def run(given: argparse.Namespace) -> Iterator[Row]:
        with backend() as target:
            yield from attack(target, given)

    return run


ATTACKS: Mapping[str, Attack] = {
    "connections": _on_backend(lambda target, given: connections.run(target, is_quick=given.quick)),
    "shapes": _on_backend(lambda target, given: shapes.run(target, is_quick=given.quick)),
    "hosts": lambda _: hosts.run(),
    "damaged": _on_backend(
        lambda target, given: pictures.run_damaged(target, is_quick=given.quick, seed=given.seed)
    ),
    "bombs": _on_backend(lambda target, _: pictures.run_bombs(target)),
    "overload": _on_backend(lambda target, given: overload.run(target, is_quick=given.quick)),
    "gateway": lambda given: overload.run_gateway(is_quick=given.quick),
    "faults": _on_backend(lambda target, _: overload.run_faults(target)),
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


def main(argv: Sequence[str]) -> int:
    """Do what was asked; return the exit status."""
    given, rows, began = arguments(argv), [], time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        require_programs()
        for kind in given.kinds or ATTACKS:
            for row in ATTACKS[kind](given):
                say(row.line)
                rows.append(row)
    except Failed as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return 130  # as a shell says it: 128 and the signal's number
    minutes = (time.monotonic() - began) / 60
    text = page(rows, seed=given.seed, minutes=minutes, is_quick=given.quick)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if all(row.is_held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
