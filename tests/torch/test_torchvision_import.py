"""torchvision is found, or said to be missing; its operators are looked for."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from imgserve.compile import torchvision_import as vision


def test_a_missing_torchvision_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install torchvision"):
        vision._compiled_operators_load()


@pytest.mark.parametrize(("fails", "expected"), [(False, True), (True, False)])
def test_compiled_operators_are_used_where_they_load(
    fails: bool, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: str) -> None:
        if fails:
            raise OSError("built for another torch")

    (tmp_path / "_C.so").touch()
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    monkeypatch.setattr(torch.ops, "load_library", load)
    assert vision._compiled_operators_load() is expected
