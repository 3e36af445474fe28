"""The locks of requirements/ are those of pyproject.toml: `make lock` makes them so."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

LOCKS = ("backend", "frontend", "gateway", "compile", "quantize", "onnx", "dev")
UNHASHED = {"torch", "torchvision"}  # requirements/torch.txt says why
CUDA = ("nvidia-", "cuda-", "triton")
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;\\]+)(?P<rest>.*)$")


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
def test_lock_holds_what_pyproject_asks_for(lock: str, root: Path, project: dict[str, Any]) -> None:
    asked = {pin for pin in direct(project, lock) if pin.partition("==")[0] not in UNHASHED}
    assert asked - pins(root, lock) == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_pinned_exactly(lock: str, project: dict[str, Any]) -> None:
    assert [pin for pin in direct(project, lock) if not PIN.match(pin)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_of_a_lock_has_hashes(lock: str, root: Path) -> None:
    assert [line for line in entries(root, lock) if "--hash=sha256:" not in line] == []
    assert len(entries(root, lock)) >= len(pins(root, lock)) > 0


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_holds_torch_or_cuda(lock: str, root: Path) -> None:
    names = {pin.partition("==")[0] for pin in pins(root, lock)}
    assert [name for name in names if name in UNHASHED or name.startswith(CUDA)] == []


def test_torch_has_the_version_that_pyproject_asks_for(root: Path, project: dict[str, Any]) -> None:
    asked = {pin for pin in direct(project, "compile") if pin.partition("==")[0] in UNHASHED}
    assert set(entries(root, "torch")) == asked


def test_locks_agree_with_each_other(root: Path) -> None:
    """An entry is the same wherever it stands; where Python versions differ, all of them are."""
    by_name: dict[str, set[frozenset[str]]] = {}
    for lock in LOCKS:
        here: dict[str, set[str]] = {}
        for pin in pins(root, lock):
            here.setdefault(pin.partition("==")[0], set()).add(pin)
        for name, versions in here.items():
            by_name.setdefault(name, set()).add(frozenset(versions))
    assert {name for name, versions in by_name.items() if len(versions) > 1} == set()
