from pathlib import Path

import pytest

from imgserve.backend.model_state import model_state
from imgserve.errors import UnknownModel
from imgserve.settings import BackendSettings
from tests.unit.test_artefact import _written


def test_a_model_that_is_not_compiled_has_no_size(tmp_path: Path) -> None:
    state = model_state(BackendSettings(weights_dir=tmp_path), "vgg16", "absent", "no weights")
    assert state.size_bytes is None
    assert (state.id, state.title, state.top1) == ("vgg16", "VGG-16", 71.592)
    assert (state.state, state.detail) == ("absent", "no weights")


def test_a_compiled_models_size_is_that_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compiled").mkdir()
    info = _written(tmp_path / "compiled")
    monkeypatch.setattr("imgserve.backend.model_state.parse_info", lambda *_: info)
    state = model_state(BackendSettings(weights_dir=tmp_path), "vgg16", "ready", None)
    assert state.size_bytes == len("graph") + len("weights")


def test_an_unknown_model_has_no_state(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        model_state(BackendSettings(weights_dir=tmp_path), "x", "absent", None)
