"""`tests/unit` imports no torch and starts no process, so it answers at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conventions.source import Module, modules

TORCH = {"torch", "torchvision"}
CROSSING = {
    "process": "import subprocess\ndef test_it(): subprocess.run(['true'])",
    "fork": "import os\ndef test_it(): os.fork()",
    "torch": "def test_it(): import torchvision",
    "fixture": (
        "import pytest, subprocess\n"
        "@pytest.fixture(scope='session')\ndef made(): subprocess.run(['true'])\n"
        "def test_it(made): pass"
    ),
}


def imports_at_once(module: Module) -> Iterator[str]:
    """Yield what a module imports as soon as it is imported itself, as `a.b` and `a.b.name`."""
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_torch(name: str, imported: dict[str, set[str]], seen: set[str]) -> bool:
    """Return whether a module imports torch, directly or through others."""
    seen.add(name)
    names = imported.get(name, set())
    direct = any(other.partition(".")[0] in TORCH for other in names)
    return direct or any(imports_torch(other, imported, seen) for other in names - seen)


def test_no_unit_test_imports_torch(root: Path) -> None:
    found = modules(root, "imgserve", "tools", "v3", "tests")
    imported = {module.name: set(imports_at_once(module)) for module in found}
    unit = [name for name in imported if name.startswith("tests.unit.")]
    assert len(unit) > 1
    assert [name for name in unit if imports_torch(name, imported, set())] == []
    assert imports_torch("tests.torch.test_catalogue", imported, set()), "nothing would be found"


def test_unit_tests_that_cross_the_border_fail(pytester: pytest.Pytester, root: Path) -> None:
    pytester.makeconftest((root / "tests" / "unit" / "conftest.py").read_text())
    pytester.makepyfile(**{f"test_{name}": code for name, code in CROSSING.items()})
    result = pytester.runpytest_subprocess()  # here torch may be imported already
    result.assert_outcomes(failed=len(CROSSING) - 1, errors=1)
    result.stdout.fnmatch_lines(["*tests/unit imports no torch: move this test to tests/torch"])
