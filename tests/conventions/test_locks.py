"""The locks of requirements/ are those of pyproject.toml, which names what the code imports."""

import re
import sys
import tomllib
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.conventions.source import FOLDERS, modules

LOCKS = ("backend", "frontend", "gateway", "compile", "quantize", "onnx", "dev")
UNHASHED = {"torch", "torchvision"}  # requirements/torch.txt says why
CUDA = ("nvidia-", "cuda-", "triton")
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;\\]+)(?P<rest>.*)$")
# Import name to the distribution's, where they differ.
DISTRIBUTIONS = {
    "AntiSSRF": "microsoft-antissrf",
    "PIL": "pillow",
    "google": "google-auth",
    "starlette": "streamlit",  # its application is one of Starlette's
    "uvicorn": "streamlit",  # which listens for it
    "pandas": "streamlit",  # what it hands tables and charts on with; Streamlit's pin decides
    "werkzeug": "flask",  # Flask's other half; Flask's pin decides
}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


def entries(root: Path, lock: str) -> list[str]:
    """Return a lock's entries, each with its hashes, in one line."""
    text = (root / "requirements" / f"{lock}.txt").read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(root: Path, lock: str) -> set[str]:
    """Return a lock's entries as name==version."""
    matches = [PIN.match(line) for line in entries(root, lock)]
    return {f"{match['name']}=={match['version']}" for match in matches if match}


def direct(project: dict[str, Any], lock: str) -> set[str]:
    """Return what pyproject.toml asks for in one extra."""
    return {*project["dependencies"], *project["optional-dependencies"][lock]}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_what_pyproject_asks_for_exactly_with_hashes_and_neither_torch_nor_cuda(
    lock: str, root: Path, project: dict[str, Any]
) -> None:
    asked = direct(project, lock)
    assert [pin for pin in asked if not PIN.match(pin)] == []
    assert {pin for pin in asked if pin.partition("==")[0] not in UNHASHED} <= pins(root, lock)
    assert [line for line in entries(root, lock) if "--hash=sha256:" not in line] == []
    assert len(entries(root, lock)) >= len(pins(root, lock)) > 0
    names = {pin.partition("==")[0] for pin in pins(root, lock)}
    assert [name for name in names if name in UNHASHED or name.startswith(CUDA)] == []


def test_torch_has_the_version_that_pyproject_asks_for(root: Path, project: dict[str, Any]) -> None:
    asked = {pin for pin in direct(project, "compile") if pin.partition("==")[0] in UNHASHED}
    assert set(entries(root, "torch")) == asked


def test_locks_agree_with_each_other(root: Path) -> None:
    """An entry is the same wherever it stands; where Python versions differ, all of them are."""
    known: dict[str, list[str]] = {}
    for lock in LOCKS:
        for name, versions in groupby(sorted(pins(root, lock)), lambda pin: pin.partition("==")[0]):
            here = list(versions)
            assert known.setdefault(name, here) == here


def test_every_import_is_a_dependency_that_was_asked_for(
    root: Path, project: dict[str, Any]
) -> None:
    extras = project["optional-dependencies"]
    served = ("backend", "frontend", "compile", "quantize", "onnx")
    pins = [*project["dependencies"], *(pin for name in served for pin in extras[name])]
    asked = {pin.partition("==")[0] for pin in pins}
    product = [module for module in modules(root) if not module.name.startswith("tools")]
    imported = {name.partition(".")[0] for module in product for name in module.imports()}
    third_party = imported - set(FOLDERS) - sys.stdlib_module_names
    named = {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in third_party}
    assert named - asked == set()
