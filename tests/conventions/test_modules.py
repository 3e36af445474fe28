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


@pytest.fixture(scope="module")
def every_module(root: Path) -> list[Module]:
    return modules(root)


def own_imports(module: Module) -> list[str]:
    """Return what a module imports of this project; the version alone names no part."""
    own = {name.partition(".")[0] for name in ALLOWED} | {"imgserve", "tests"}
    names = [name for name in module.imports() if name.partition(".")[0] in own]
    return [name for name in names if not name.endswith((".__version__", ".HOMEPAGE"))]


def test_every_module_belongs_to_a_part_and_every_part_exists(every_module: list[Module]) -> None:
    assert {part(module.name) for module in every_module} == set(ALLOWED)


def test_imports_point_one_way(every_module: list[Module]) -> None:
    wrong = {
        f"{module.name} imports {name}"
        for module in every_module
        for name in own_imports(module)
        if part(name) not in ALLOWED[part(module.name)] | {part(module.name)}
    }
    assert wrong == set()


def test_no_import_leads_back_to_where_it_began(every_module: list[Module]) -> None:
    names = {module.name for module in every_module}
    imported = {
        module.name: {_module_of(name, names) for name in own_imports(module)} - {module.name}
        for module in every_module
    }
    TopologicalSorter(imported).prepare()  # CycleError names the circle


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_wing(every_module: list[Module], library: str) -> None:
    importers = {
        part(module.name)
        for module in every_module
        if library in {name.partition(".")[0] for name in module.imports()}
    }
    assert {name for name in importers if not name.startswith("tools")} <= ONLY_IN[library]


def _module_of(imported: str, modules_there: set[str]) -> str:
    """Return the module that an import reads: ``a.b.name`` is a name in ``a.b``, or a module."""
    return imported if imported in modules_there else imported.rpartition(".")[0]


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


def test_modules_are_short(root: Path) -> None:
    sizes = {module.name: module.lines for module in modules(root)}
    assert {name: lines for name, lines in sizes.items() if lines > MODULE_LINES} == {}


def test_functions_are_short(root: Path) -> None:
    sizes = {name: lines for module in modules(root) for name, lines in functions(module)}
    assert {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES} == {}


# --- what they read ------------------------------------------------------------

# Module to the reason it may read the environment.
READERS = {
    "imgserve.machine": "the user says where caches are kept",
    "backend_v1.app": "a service is told by its environment",
    "backend_v2.app": "a service is told by its environment",
    "v3.backend.app": "a service is told by its environment",
    "frontend_v1.app": "a service is told by its environment",
    "frontend_v2.app": "a service is told by its environment",
    "v3.frontend.app": "a service is told by its environment",
    "imgserve.frontend.__main__": "a command",
    "imgserve.evaluate.__main__": "a command",
    "v3.gateway.__main__": "a command, and a service",
    "imgserve.backend.gunicorn.conf": "gunicorn reads it before the app",
}


def reads_environment(module: Module) -> bool:
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return bool({"os.environ", "os.getenv"} & (attributes | set(module.imports())))


def test_only_what_is_started_reads_the_environment(root: Path) -> None:
    product = [module for module in modules(root) if not module.name.startswith("tools")]
    readers = {module.name for module in product if reads_environment(module)}
    assert readers - set(READERS) == set()
