"""Write what was measured into the project's texts: ``python -m tools.benchmarks.answers``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.benchmarks.answers import tables
from tools.benchmarks.answers.costs import costs
from tools.benchmarks.paths import RESULTS, ROOT
from tools.benchmarks.plan import FULL
from tools.benchmarks.records import MEASURED_ONCE, REHEARSAL, Results
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
FOLDER = "tools/benchmarks/results"
REHEARSE = f'make rehearse ARGS="--json {FOLDER}/{REHEARSAL}.json"'
# What follows the name of a number in French, with a comma where English has a point.
FRENCH = "-fr"
NO_NUMBER, PAS_DE_NOMBRE = "(not measured yet)", "(pas encore mesuré)"

# What a mark stands for, by its name: a table of some parts, or a number in a sentence. Nothing is
# said where the parts have not run.
TABLES: Mapping[str, tuple[Callable[[Results], str], tuple[str, ...]]] = {
    "builds": (tables.builds, (REHEARSAL,)),
    "images": (tables.images, (REHEARSAL,)),
    "apart": (tables.apart, (REHEARSAL,)),
    "starts": (lambda results: results.once("tables", "starts"), ("starts",)),
    "strategies": (lambda results: results.once("tables", "strategies"), ("strategies",)),
    "gateway": (tables.gateway, ("servers",)),
    "int8": (tables.int8, ("latency", "agreement")),
    "int8-servers": (tables.int8_servers, ("servers",)),
    "stages": (lambda results: results.once("tables", "jpegs"), ("stages",)),
    "costs": (costs, ("servers",)),
}
NUMBERS: Mapping[str, Callable[[Results], str]] = {
    "builds-ratio": tables.builds_ratio,
    "starts-ratio": lambda results: results.once("numbers", "starts-ratio"),
    "http-ms": lambda results: results.once("numbers", "http-ms"),
    "apart-memory": lambda results: results.once("numbers", "apart-memory"),
    "pool-rate": lambda results: results.once("numbers", "pool-rate"),
    "int8-agreement": tables.least_agreement,
}


def contents(results: Results, marks: Sequence[str]) -> dict[str, str]:
    """Return what goes between marks of these names; those that are unknown are left out."""
    known = [mark for mark in marks if mark.removesuffix(FRENCH) in {*TABLES, *NUMBERS}]
    return {mark: _content(results, mark) for mark in known}


def _content(results: Results, mark: str) -> str:
    if mark in TABLES:
        make, parts = TABLES[mark]
        text = make(results)
        if not text:
            return f"Not measured yet: {_source(parts)}."
        # Parts measured alike are said once.
        said = dict.fromkeys(filter(None, (_said(results, part) for part in parts)))
        return f"{text}\nMeasured by {'; '.join((_source(parts), *said))}."
    number = NUMBERS[mark.removesuffix(FRENCH)](results)
    if mark.endswith(FRENCH):
        return number.replace(".", ",") or PAS_DE_NOMBRE
    return number or NO_NUMBER


def _source(parts: tuple[str, ...]) -> str:
    """Return what to type to have these parts measured, or where the only measurement is."""
    named = " ".join(parts)
    if parts == (REHEARSAL,):
        return f"`{REHEARSE}`"
    if parts[0] in MEASURED_ONCE:
        return f"an earlier form of the benchmark (`{FOLDER}/{named}.json`)"
    return f"`make bench PARTS={named}`" if len(parts) == 1 else f'`make bench PARTS="{named}"`'


def _said(results: Results, part: str) -> str:
    """Return on which machine and when a part was measured."""
    rehearsal, record = results.rehearsal, results.records.get(part)
    if part == REHEARSAL:
        return _where(rehearsal.get("machine", {}), rehearsal.get("taken", ""))
    if record is None:
        return f"{part} has not been measured yet"
    plan = "" if record.plan == FULL else f", {record.plan} plan only"
    return _where(record.machine, record.taken) + plan


def _where(machine: Mapping[str, str], taken: str) -> str:
    cores = f"{machine['cores']} cores" if "cores" in machine else ""
    return ", ".join(filter(None, (machine.get("cpu", ""), cores, taken[:10])))


def with_figures(text: str, wanted: Sequence[str], results: Results) -> str:
    """Return a text with what was measured between its ``<!-- figures:NAME -->`` marks.

    Raises:
        ValueError: a mark that is wanted is missing, or one is there twice or unknown.
    """
    marks = [*dict.fromkeys((*wanted, *names(text, KIND)))]
    return filled(text, KIND, contents(results, marks))


def main(argv: Sequence[str]) -> int:
    """Rewrite the texts; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmarks.answers",
        description=f"Write what was measured into {SHORT_ANSWER} and {README}.",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder of results")
    parser.add_argument("--texts", type=Path, default=ROOT, help="the folder of the two texts")
    given = parser.parse_args(argv)
    results = Results(given.results)
    texts = {}
    for name, wanted in WANTED.items():
        path = given.texts / name
        try:
            texts[path] = with_figures(path.read_text(encoding="utf-8"), wanted, results)
        except ValueError as exc:
            sys.stderr.write(f"{name}: {exc}\n")
            return 1
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
