"""One idea a module, a few lines a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conventions.source import Module, modules

MODULE_LINES = 300
FUNCTION_LINES = 25


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each function's name and the lines of its body, docstring aside."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield f"{module.name}.{node.name}", lines


def test_modules_are_short(root: Path) -> None:
    sizes = {module.name: module.lines for module in modules(root)}
    assert {name: lines for name, lines in sizes.items() if lines > MODULE_LINES} == {}


def test_functions_are_short(root: Path) -> None:
    sizes = {name: lines for module in modules(root) for name, lines in functions(module)}
    assert {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES} == {}
