"""A model that is not compiled yet."""

from pathlib import Path

import pytest

from imgserve.compile import torch_worker
from imgserve.contract import PredictOptions
from imgserve.errors import CompiledModelInvalid, ModelError, UnknownModel
from imgserve.models import compiled_model, openvino_engine
from imgserve.settings import BackendSettings
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"
ESPRESSO = pictures.path("coffee.png").read_bytes()


def settings(folder: Path, **more: object) -> BackendSettings:
    return BackendSettings(weights_dir=folder, threads=2, **more)  # type: ignore[arg-type]


def test_a_missing_model_is_compiled_once_with_progress_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights_bytes = compiled_model.prepare(settings(tmp_path), EMBEDDED)
    assert f"{EMBEDDED}: checking against the original" in capfd.readouterr().err
    assert compiled_model.prepare(settings(tmp_path), EMBEDDED) == weights_bytes > 18_000_000
    assert capfd.readouterr().err == ""
    classifier = openvino_engine.load(settings(tmp_path), EMBEDDED)
    result = classifier.classify(ESPRESSO, PredictOptions(), limit_pixels=10**7)
    assert result.predictions[0].category == "espresso"
    (weights,) = (tmp_path / "compiled").glob("*.bin")
    with weights.open("r+b") as file:
        file.seek(weights_bytes // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CompiledModelInvalid, match=rf"{weights.name} is damaged: compile it again"):
        openvino_engine.load(settings(tmp_path), EMBEDDED)


def test_torch_runs_the_plain_module_and_compiles_nothing(tmp_path: Path) -> None:
    given = settings(tmp_path, engine="torch")
    assert compiled_model.prepare(given, EMBEDDED) == 4 * 4_652_008
    classifier = torch_worker.load(given, EMBEDDED)
    options = PredictOptions(explain=True)
    result = classifier.classify(ESPRESSO, options, limit_pixels=10**7, explain_s=60)
    assert result.predictions[0].category == "espresso"
    assert pictures.looked_at_the_coffee(result.explanation)
    assert not (tmp_path / "compiled").exists()


def test_a_failed_compilation_is_told_with_its_reason(tmp_path: Path) -> None:
    given = settings(tmp_path, weights_url_base="http://127.0.0.1:9")  # nobody listens there
    wrong = compiled_model.checkpoints_folder(given) / "resnet152-f82ba261.pth"
    wrong.parent.mkdir()
    wrong.write_bytes(b"another")
    said = r"^compiling resnet152 failed: .*127\.0\.0\.1.*begins with ae448ac8 instead of f82ba261$"
    with pytest.raises(ModelError, match=said):
        compiled_model.prepare(given, "resnet152")


def test_an_unknown_model_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        compiled_model.prepare(settings(tmp_path), "nope")


def test_an_image_that_only_serves_says_that_the_model_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_model.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="is not in this image: name it when the image is built"):
        compiled_model.prepare(settings(tmp_path), EMBEDDED)
