"""The benchmark's own code: short, and known to nobody else."""

import ast
from pathlib import Path

import pytest

from tests.conventions.source import Module, modules
from tests.conventions.test_sizes import FUNCTION_LINES, MODULE_LINES, functions


@pytest.fixture(scope="module")
def own(root: Path) -> list[Module]:
    found = []
    for path in sorted((root / "benchmarks").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path.stem, path, ast.parse(text), len(text.splitlines())))
    return found


def test_modules_and_functions_are_short(own: list[Module]) -> None:
    assert own
    assert [str(each.path) for each in own if each.lines > MODULE_LINES] == []
    sizes = [size for each in own for size in functions(each)]
    assert [name for name, lines in sizes if lines > FUNCTION_LINES] == []


def test_the_services_know_nothing_of_the_benchmark(root: Path) -> None:
    knowing = [
        each.name
        for each in modules(root)
        if any(name.partition(".")[0] == "benchmarks" for name in each.imports())
    ]
    assert knowing == []


def test_the_benchmark_does_without_the_tests(own: list[Module]) -> None:
    imported = {name.partition(".")[0] for each in own for name in each.imports()}
    assert "imgserve" in imported
    assert "tests" not in imported
