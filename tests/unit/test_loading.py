import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from imgserve.errors import ModelError, ModelUnavailable, NotReady, UnknownModel
from imgserve.models import loading, loading_model
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import Transform
from imgserve.models.loading_model import LoadingModel
from imgserve.models.transform import Crop
from imgserve.settings import BackendSettings
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"


def small_classifier(calls: list[Crop]) -> Classifier:
    """Return a model with two classes that counts how often it is asked."""

    def engine(crops: Crop) -> np.ndarray:
        calls.append(crops)
        return np.array([[0.25, 0.75]], dtype=np.float32)

    transform = Transform(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Classifier("small", ["cat", "dog"], transform, engine)


def test_a_loaded_model_answers() -> None:
    model = LoadingModel("small", lambda: small_classifier([]))
    classifier = model.get(5)
    made = classifier(pictures.picture("chelsea.png"))
    assert made.categories[made.probabilities.argmax()] == "dog"
    assert made.preprocess_ms >= 0
    assert made.inference_ms >= 0


def test_while_it_loads_callers_are_told_and_may_wait() -> None:
    begun = threading.Event()

    def load() -> Classifier:
        begun.wait(5)
        return small_classifier([])

    model = LoadingModel("small", load)
    assert model.state == "loading"
    with pytest.raises(NotReady, match="small is still loading") as caught:
        model.get()
    assert caught.type is NotReady
    assert caught.value.retry_after_s == 2
    begun.set()
    with model.using(5) as classifier:
        assert classifier.model == "small"
    assert model.state == "ready"
    assert model.failure is None


@pytest.mark.parametrize(
    ("error", "said", "has_traceback"),
    [
        (ModelError("no weights"), "no weights", False),
        (OSError("/a/path"), "the log says why", True),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why_but_not_what_only_the_log_may(
    error: Exception, said: str, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Classifier:
        raise error

    model = LoadingModel("small", load)
    with pytest.raises(ModelUnavailable, match=f"could not be loaded: {said}") as caught:
        model.get(5)
    assert caught.value.retry_after_s == 60
    assert model.state == "absent"
    assert model.failure == said
    (entry,) = caplog.records
    assert "model small could not be loaded" in entry.message
    assert bool(entry.exc_info) == has_traceback
    assert str(error) in caplog.text


def test_a_model_that_could_not_be_loaded_is_tried_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results: list[Exception | Classifier] = [ModelError("no network"), small_classifier([])]

    def load() -> Classifier:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    model = LoadingModel("small", load)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="no network"):
            model.get(5)
    assert len(results) == 1
    later = loading_model.time.monotonic() + loading_model.RETRY_S
    monkeypatch.setattr(loading_model.time, "monotonic", lambda: later)
    assert model.get(5).model == "small"


def _settings(folder: Path, **more: object) -> BackendSettings:
    return BackendSettings(weights_dir=folder, threads=2, **more)  # type: ignore[arg-type]


def test_a_missing_artefact_is_compiled_once_with_progress_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = loading.load(_settings(tmp_path), EMBEDDED)(pictures.picture("coffee.png"))
    assert made.categories[made.probabilities.argmax()] == "espresso"
    assert f"{EMBEDDED}: checking against torch" in capfd.readouterr().err
    loading.load(_settings(tmp_path), EMBEDDED)
    assert capfd.readouterr().err == ""


def test_torch_engine_is_a_setting(tmp_path: Path) -> None:
    made = loading.load(_settings(tmp_path, engine="torch"), EMBEDDED)(
        pictures.picture("coffee.png")
    )
    assert made.categories[made.probabilities.argmax()] == "espresso"
    assert not (tmp_path / "compiled").exists()


def test_a_failed_compilation_is_told_with_its_reason(tmp_path: Path) -> None:
    settings = BackendSettings(weights_dir=tmp_path, weights_url_base="http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"resnet152-f82ba261\.pth could not be had"):
        loading.load(settings, "resnet152")


def test_a_wrong_file_of_weights_is_named_and_left_where_nothing_better_can_be_had(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = BackendSettings(weights_dir=tmp_path, weights_url_base="http://127.0.0.1:9")
    wrong = loading.checkpoints_folder(settings) / "resnet152-f82ba261.pth"
    wrong.parent.mkdir()
    wrong.write_bytes(b"another")
    with pytest.raises(ModelError, match=r"SHA-256 begins with ae448ac8 instead of f82ba261$"):
        loading.load(settings, "resnet152")
    assert "instead of f82ba261: it is downloaded anew" in capfd.readouterr().err
    assert wrong.read_bytes() == b"another"


def test_an_unknown_model_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        loading.load(BackendSettings(weights_dir=tmp_path), "nope")


def test_serving_imports_neither_torch_nor_torchvision(tmp_path: Path, root: Path) -> None:
    loading.load(_settings(tmp_path), EMBEDDED)
    script = f"""
import os, sys
os.environ |= {{"MODEL_NAME": "{EMBEDDED}", "WEIGHTS_DIR": {str(tmp_path)!r}}}
from backend_v1.app import app, model
assert model.get(30).model == "{EMBEDDED}"
with open("imgserve/samples/cat.jpg", "rb") as picture:
    answer = app.test_client().post("/predict", data=picture.read(), content_type="image/jpeg")
assert answer.status_code == 200, answer.text
heavy = {{"torch", "torchvision", "openvino_telemetry", "openvino.tools.ovc", "streamlit"}}
print(sorted(name for name in heavy if sys.modules.get(name)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
