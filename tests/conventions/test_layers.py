"""Imports point one way.

::

    errors <- settings <- contract <- images, models, engine <- compute <- service
                          service, compute <- backend_*/app.py
                          contract <- client <- page <- frontend_*/app.py
              settings <- frontend, which starts one of these pages
"""

from pathlib import Path

import pytest

from tests.conventions.source import SERVICES, Module, modules

GROUND = {"imgserve", "errors", "machine", "parsers", "settings", "contract", "log"}
PARTS = {"images", "models", "engine"}
BACKEND = PARTS | {"compute"}

# Part of the package, or service, to the other parts it may import.
ALLOWED: dict[str, set[str]] = {
    "imgserve": set(),  # its version
    "errors": set(),
    "machine": set(),
    "parsers": set(),
    "settings": {"imgserve", "errors", "machine", "parsers"},
    "contract": {"imgserve", "errors", "settings"},
    "log": {"imgserve", "errors", "settings", "contract"},
    "images": GROUND,
    "models": GROUND,
    "engine": GROUND | {"models"},
    "compile": GROUND | PARTS,
    "compute": GROUND | PARTS,
    "service": GROUND | BACKEND,
    "client": GROUND,
    "frontend": GROUND,
    "page": GROUND | {"client"},
    "backend_v1": GROUND | BACKEND | {"service"},
    "backend_v2": GROUND | BACKEND | {"service"},
    "v3": set(),
    "v3.backend": GROUND | BACKEND | {"service"},
    "frontend_v1": GROUND | {"client", "page"},
    "frontend_v2": GROUND | {"client", "page"},
    "v3.frontend": GROUND | {"client", "page"},
    "processes": GROUND,
    "v3.gateway": GROUND | {"models"},
    "run": GROUND | {"models", "processes", "v3.gateway"},
    "marked": set(),
    "readme": GROUND | {"marked", "run", "v3.gateway"},
}
FRONTEND = {"client", "frontend", "page", "frontend_v1", "frontend_v2", "v3.frontend"}
SHARED = GROUND
NOT_ON_THE_FRONTEND = {"torch", "torchvision", "openvino", "flask", "gunicorn"}
NOT_ON_THE_BACKEND = {"streamlit", "altair", "pandas"}
# Serving starts without torch: it is imported by what compiles and by the engine that is torch.
IMPORT_TORCH = {
    "imgserve.engine.export",
    "imgserve.engine.torch_engine",
    "imgserve.models.efficientnet_lite",
    "imgserve.models.packaged",
    "imgserve.models.vision",
    "imgserve.models.weights",
}


def part(name: str) -> str:
    """Return which part a dotted name belongs to: what follows ``imgserve.``, else its start."""
    first, _, rest = name.partition(".")
    inner = rest.partition(".")[0]
    if first == "v3" and inner:
        return f"v3.{inner}"
    return inner if first == "imgserve" and rest else first


def forbidden_imports(module: Module) -> list[str]:
    """Return what a module imports from parts of this project that it may not know."""
    here = part(module.name)
    known = ALLOWED[here] | {here}
    own = [name for name in module.imports() if name.partition(".")[0] in {"imgserve", *SERVICES}]
    # `from imgserve import __version__` names no part.
    return [name for name in own if part(name) not in known and not name.endswith("__version__")]


def roots(module: Module) -> set[str]:
    """Return the top-level packages a module imports."""
    return {name.partition(".")[0] for name in module.imports()}


@pytest.fixture(scope="module")
def every_module(root: Path) -> list[Module]:
    return modules(root)


def test_every_module_belongs_to_a_known_part(every_module: list[Module]) -> None:
    assert [each.name for each in every_module if part(each.name) not in ALLOWED] == []


def test_every_part_exists(every_module: list[Module]) -> None:
    assert set(ALLOWED) - {part(each.name) for each in every_module} == set()


def test_imports_point_one_way(every_module: list[Module]) -> None:
    wrong = {each.name: forbidden_imports(each) for each in every_module}
    assert {name: imports for name, imports in wrong.items() if imports} == {}


def test_nothing_imports_tests(every_module: list[Module]) -> None:
    assert [each.name for each in every_module if "tests" in roots(each)] == []


def test_frontend_side_imports_neither_torch_nor_flask(every_module: list[Module]) -> None:
    sides = [each for each in every_module if part(each.name) in FRONTEND | SHARED]
    assert {each.name: roots(each) & NOT_ON_THE_FRONTEND for each in sides} == {
        each.name: set() for each in sides
    }


def test_backend_side_imports_no_streamlit(every_module: list[Module]) -> None:
    sides = [each for each in every_module if part(each.name) not in FRONTEND]
    assert [each.name for each in sides if roots(each) & NOT_ON_THE_BACKEND] == []


def test_torch_is_imported_by_few(every_module: list[Module]) -> None:
    found = {each.name for each in every_module if roots(each) & {"torch", "torchvision"}}
    assert found <= IMPORT_TORCH
