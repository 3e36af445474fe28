"""Imports point one way and in no circle, code comes in short pieces, few read the environment.

::

    ground <- pictures <- models <- backend <- backend_*/app.py, v3/backend/app.py
    ground <- frontend <- frontend_*/app.py, v3/frontend/app.py
    models <- evaluate <- compile; models <- v3/gateway
    tools may import all of these; nobody imports tools, and one tool another only where it says so
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conventions.source import Module, modules

GROUND = {"imgserve", "errors", "machine", "settings", "contract", "log", "units"}
MODELS = GROUND | {"pictures", "models"}
PRODUCT = MODELS | {"compile", "evaluate", "backend", "frontend", "v3.gateway"}

# Part of the project to the other parts it may import.
ALLOWED: dict[str, set[str]] = {
    "imgserve": set(),  # its version and home
    "units": set(),
    "errors": set(),
    "machine": set(),
    "settings": {"imgserve", "errors", "machine", "units"},
    "contract": {"imgserve", "errors", "settings"},
    "log": {"imgserve", "errors", "settings", "contract"},
    "pictures": GROUND,
    "models": GROUND | {"pictures"},
    "compile": MODELS | {"evaluate"},
    "evaluate": MODELS,
    "backend": MODELS,
    "frontend": GROUND,
    "backend_v1": MODELS | {"backend"},
    "backend_v2": MODELS | {"backend"},
    "frontend_v1": GROUND | {"frontend"},
    "frontend_v2": GROUND | {"frontend"},
    "v3": set(),
    "v3.backend": MODELS | {"backend"},
    "v3.frontend": GROUND | {"frontend"},
    "v3.gateway": GROUND | {"models"},
    "tools": set(),
    "tools.process": set(),
    "tools.supervisor": {"contract", "errors", "tools.process"},
    "tools.run": PRODUCT | {"tools.process", "tools.supervisor"},
    "tools.rehearsal": PRODUCT | {"tools.process"},
    "tools.documents": PRODUCT | {"tools.run"},
    "tools.benchmarks": PRODUCT | {"tools.process"},
    "tools.page_figures": {"tools.rehearsal"},
    "tools.attack": PRODUCT | {"tools.benchmarks", "tools.process"},
}
# A library to the only parts that may import it; a tool may import all.
ONLY_IN = {
    "torch": {"compile"},
    "torchvision": {"compile"},
    "openvino": {"models", "compile"},
    "flask": {"backend"},
    "gunicorn": {"backend"},
    "streamlit": {"frontend", "frontend_v1", "frontend_v2", "v3.frontend"},
}


def part(name: str) -> str:
    """Return which part a dotted name belongs to: its start, or two words where that says more."""
    first, _, rest = name.partition(".")
    inner = rest.partition(".")[0]
    if first in {"v3", "tools"} and inner:
        return f"{first}.{inner}"
    return inner if first == "imgserve" and rest else first


def own_imports(module: Module) -> list[str]:
    """Return what a module imports of this project; the version alone names no part."""
    own = {name.partition(".")[0] for name in ALLOWED} | {"imgserve", "tests"}
    names = [name for name in module.imports() if name.partition(".")[0] in own]
    return [name for name in names if not name.endswith((".__version__", ".HOMEPAGE"))]


def test_every_module_belongs_to_a_part_and_every_part_exists(root: Path) -> None:
    assert {part(module.name) for module in modules(root)} == set(ALLOWED)


def test_imports_point_one_way_and_never_back_to_where_they_began(root: Path) -> None:
    imported = {module.name: own_imports(module) for module in modules(root)}
    wrong = {
        f"{module} imports {name}"
        for module, names in imported.items()
        for name in names
        if part(name) not in ALLOWED[part(module)] | {part(module)}
    }
    assert wrong == set()
    # What is no module is a name in one.
    read = {
        module: {name if name in imported else name.rpartition(".")[0] for name in names} - {module}
        for module, names in imported.items()
    }
    TopologicalSorter(read).prepare()  # CycleError names the circle


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_wing(root: Path, library: str) -> None:
    importers = {
        part(module.name)
        for module in modules(root)
        if library in {name.partition(".")[0] for name in module.imports()}
    }
    assert {name for name in importers if not name.startswith("tools")} <= ONLY_IN[library]


# --- how long they are ------------------------------------------------------------

MODULE_LINES = 300
FUNCTION_LINES = 25


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each function's name and the lines of its body, docstring aside."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield f"{module.name}.{node.name}", lines


def test_modules_and_functions_are_short(root: Path) -> None:
    long = {module.name for module in modules(root) if module.lines > MODULE_LINES}
    lengths = (length for module in modules(root) for length in functions(module))
    assert long | {name for name, lines in lengths if lines > FUNCTION_LINES} == set()


# --- what they read ------------------------------------------------------------

READERS = {
    # Services are told by their environment.
    *("backend_v1.app", "backend_v2.app", "v3.backend.app"),
    *("frontend_v1.app", "frontend_v2.app", "v3.frontend.app"),
    # Commands; the gateway's is a service too.
    *("imgserve.frontend.__main__", "imgserve.evaluate.__main__", "v3.gateway.__main__"),
    "imgserve.machine",  # the user says where caches are kept
    "imgserve.backend.gunicorn.conf",  # gunicorn reads it before the app
}


def reads_environment(module: Module) -> bool:
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)]
    named = {*map(ast.unparse, nodes), *module.imports()}
    return not named.isdisjoint({"os.environ", "os.getenv"})


def test_only_what_is_started_reads_the_environment(root: Path) -> None:
    product = [module for module in modules(root) if not module.name.startswith("tools")]
    assert {module.name for module in product if reads_environment(module)} <= READERS
