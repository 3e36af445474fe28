"""Write what was measured into the project's texts: ``python -m tools.benchmarks.answers``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.benchmarks.answers.figures import contents
from tools.benchmarks.answers.results import Results
from tools.benchmarks.places import RESULTS, ROOT
from tools.documents import filled, names

KIND = "figures"
SHORT_ANSWER, README = "SHORT_ANSWER.md", "README.md"
# What each text must have; it may have more of what there is.
WANTED: Mapping[str, tuple[str, ...]] = {
    SHORT_ANSWER: (
        *("builds", "images", "starts", "apart", "strategies", "gateway"),
        *("int8", "int8-servers", "stages"),
    ),
    README: ("costs",),
}


def with_figures(text: str, wanted: Sequence[str], results: Results) -> str:
    """Return a text with what was measured between its ``<!-- figures:NAME -->`` marks.

    Raises:
        ValueError: a mark that is wanted is missing, or one is there twice or unknown.
    """
    return filled(text, KIND, contents(results, dict.fromkeys((*wanted, *names(text, KIND)))))


def main(argv: Sequence[str]) -> int:
    """Rewrite the texts; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks.answers",
        description=f"Write what was measured into {SHORT_ANSWER} and {README}.",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder of results")
    parser.add_argument("--texts", type=Path, default=ROOT, help="the folder of the two texts")
    given = parser.parse_args(argv)
    results = Results.read(given.results)
    try:
        texts = {given.texts / name: _new(given.texts / name, results) for name in WANTED}
    except ValueError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


def _new(path: Path, results: Results) -> str:
    try:
        return with_figures(path.read_text(encoding="utf-8"), WANTED[path.name], results)
    except ValueError as exc:
        raise ValueError(f"{path.name}: {exc}") from exc


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
