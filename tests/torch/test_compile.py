"""Architectures are compiled for real; those whose weights need a hub with random ones."""

import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, redirect_stderr
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from torch import nn

from imgserve.compile import __main__ as compiling
from imgserve.compile import export, torch_worker, torchvision
from imgserve.compile.original import NOISE_PICTURES, SAMPLES, check_crops, of_module
from imgserve.compile.weights import default_weights, transform_of
from imgserve.contract import PredictOptions
from imgserve.errors import CompiledModelInvalid, CompileMismatch, ModelError, UnknownModel
from imgserve.models import catalogue, compiled_model, openvino_engine
from imgserve.models.classifier import crop
from imgserve.models.compiled_model import ModelInfo, Transform
from imgserve.settings import BackendSettings
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"
SMALL = "squeezenet1_1"
LARGE = [name for name in catalogue.catalogue(None) if not name.startswith("efficientnet")]
ENTRY = catalogue.Entry(title="A model")
SMALL_TRANSFORM = Transform(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def settings(folder: Path, **more: str) -> BackendSettings:
    return BackendSettings(weights_dir=folder, threads=2, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> BackendSettings:
    """Return settings whose model was missing, and was compiled with progress shown."""
    given = settings(tmp_path_factory.mktemp("weights"), precision="fp32")
    with redirect_stderr(io.StringIO()) as said:
        compiled_model.prepare(given, EMBEDDED)
    assert f"{EMBEDDED}: checking against the original" in said.getvalue()
    return given


def test_compiled_answers_equal_torch_and_its_own_transforms(given: BackendSettings) -> None:
    compiled = openvino_engine.load(given, EMBEDDED)
    weights = torchvision.models.get_model_weights(EMBEDDED).DEFAULT
    module = torchvision.models.get_model(EMBEDDED, weights=weights).eval()
    shapes = pictures.shapes()
    shapes["retina.jpg"].thumbnail((1000, 1000))  # larger ones are brought near its size first
    for name in (*pictures.NAMES, "cat1x1", "cat1999x257"):
        with torch.inference_mode():
            reference = module(weights.transforms()(shapes[name])[None]).softmax(dim=1)[0].numpy()
        probabilities = pictures.probabilities(compiled, shapes[name])
        assert np.abs(probabilities - reference).max() < 1e-3, name
        assert probabilities.sum() == pytest.approx(1, abs=1e-4)


def test_torch_runs_the_plain_module_and_compiles_nothing(tmp_path: Path) -> None:
    given = settings(tmp_path, engine="torch")
    assert compiled_model.prepare(given, EMBEDDED) == 4 * 4_652_008
    classifier = torch_worker.load(given, EMBEDDED)
    espresso = pictures.path("coffee.png").read_bytes()
    options = PredictOptions(explain=True)
    result = classifier.classify(espresso, options, limit_pixels=10**7, explain_s=60)
    assert result.predictions[0].category == "espresso"
    places = np.array(result.explanation)
    y, x = (np.argwhere(places == 1)[0] + 0.5) / len(places)
    assert 0.1 < y < 0.5  # where the coffee is: above the middle
    assert 0.2 < x < 0.75
    assert not (tmp_path / "compiled").exists()


@pytest.mark.parametrize(
    "model_id", [SMALL, *(pytest.param(name, marks=pytest.mark.large) for name in LARGE)]
)
def test_an_architecture_compiles_and_agrees_with_torch(model_id: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, weights = torchvision.models.get_model(model_id).eval(), default_weights(model_id)
    original = of_module(module, transform_of(weights), weights.meta["categories"], ENTRY)
    info = export.export(model_id, original, tmp_path)
    assert info.largest_difference < export.TOLERANCE
    compiled = openvino_engine.OpenVinoEngine(tmp_path / info.graph.name, threads=2)
    for picture in map(pictures.picture, ("chelsea.png", "retina.jpg")):
        seen = crop(picture, original.transform)
        assert np.abs(compiled(seen) - original.engine(seen)).max() < 1e-4


def test_a_compiled_model_says_what_it_is_and_is_not_compiled_again(
    given: BackendSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = compiled_model.compiled_folder(given)
    info = compiled_model.read_info(folder, EMBEDDED)
    assert compiled_model.prepare(given, EMBEDDED) == info.weights.size_bytes > 18_000_000
    assert capfd.readouterr().err == ""
    assert info.categories[281] == "tabby"
    assert info.parameters == 4_652_008
    assert set(info.versions) == {"imgserve", "torch", "torchvision", "openvino"}
    assert info.precision == "fp32"
    names = {f"{EMBEDDED}.json", f"{EMBEDDED}.lock", info.graph.name, info.weights.name}
    assert {path.name for path in folder.iterdir()} == names
    graph = (folder / info.graph.name).read_text()
    assert graph.count('type="Pad"') == 49  # of as many convolutions
    assert 'type="ShapeOf"' not in graph  # what depends on the shape alone is computed


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to compile into; what is compiled from now on is a network of one layer."""
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten())
    made = of_module(network.eval(), SMALL_TRANSFORM, ["a", "b", "c", "d"], ENTRY)
    monkeypatch.setattr(compiling, "original", lambda *_, **__: made)
    return tmp_path / "compiled"


def compile_tiny(folder: Path, *options: str) -> ModelInfo:
    """Compile by the command; return what the model is said to be."""
    assert compiling.main([EMBEDDED, "--out", str(folder), *options]) == 0
    return compiled_model.read_info(folder, EMBEDDED)


def test_only_a_damaged_model_is_compiled_again_unless_it_is_forced(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiles(*options: str) -> bool:
        compile_tiny(tiny, *options)
        return "is compiled already" not in capsys.readouterr().err

    assert [compiles(), compiles(), compiles("--force")] == [True, False, True]
    weights = tiny / compiled_model.read_info(tiny, EMBEDDED).weights.name
    flipped = bytearray(weights.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    said = rf"{weights.name} is damaged: compile it again"
    for damaged in (bytes(len(flipped)), flipped):  # the former is no graph for OpenVINO
        weights.write_bytes(damaged)
        with pytest.raises(CompiledModelInvalid, match=said):
            openvino_engine.load(settings(tiny.parent), EMBEDDED)
    assert [compiles(), compiles()] == [True, False]


def test_a_model_of_other_versions_is_replaced(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_tiny(tiny)
    (tiny / f"{EMBEDDED}-0ld.bin").write_text("of an older version")
    for module in (compiling, export):
        monkeypatch.setattr(module, "versions", lambda _: {"imgserve": "newer"})
    info = compile_tiny(tiny)
    assert info.versions == {"imgserve": "newer"}
    kept = {path.name for path in tiny.glob(f"{EMBEDDED}-*")}
    assert kept == {info.graph.name, info.weights.name}


CHECKED = list(check_crops(SMALL_TRANSFORM))


def test_check_uses_real_pictures_and_noise() -> None:
    samples = len(list(SAMPLES.glob("*.jpg")))
    assert len(CHECKED) == samples + NOISE_PICTURES
    assert samples > 1


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        ([0.6, 0.4], [0.6003, 0.3997], "probabilities differ"),
        ([0.6, 0.4], [float("nan"), 0.4], "probabilities differ"),
        ([0.50001, 0.49999], [0.49999, 0.50001], "another one"),
        ([0.6, 0.4], [0.60005, 0.39995], ""),  # within the tolerance
        ([0.5, 0.5], [0.49995, 0.50005], ""),  # both are equally probable
    ],
)
def test_other_probabilities_and_another_top_class_are_a_mismatch(
    expected: list[float], actual: list[float], said: str
) -> None:
    engines = (lambda _, row=row: np.array([row], np.float32) for row in (expected, actual))
    with pytest.raises(CompileMismatch, match=said) if said else nullcontext():
        assert export.largest_difference(*engines, iter(CHECKED)) == pytest.approx(5e-5, rel=0.01)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{EMBEDDED} --out out", "probabilities differ"),
        (f"{EMBEDDED} --out out --precision int8", "(nncf): run requirements/install.sh quantize"),
        ("nope --out out", "choose one of resnet152"),
        (f"{EMBEDDED} --out file", "'file'"),
    ],
)
def test_what_cannot_be_compiled_is_named_and_leaves_nothing_behind(
    words: str,
    said: str,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)  # as if it were not installed
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    monkeypatch.chdir(tiny.parent)
    Path("file").write_text("in the way")
    assert compiling.main(words.split()) == 1
    assert said in capsys.readouterr().err
    assert {path.name for path in Path("out").rglob("*")} <= {f"{EMBEDDED}.lock"}


def test_who_started_it_is_gone_and_it_stops_and_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgserve.compile", EMBEDDED, "--until-stdin-closes"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdin=pipe, stderr=pipe, text=True
    )
    assert process.stderr is not None
    assert "loading trained weights" in process.stderr.readline()
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in said
    assert [path.name for path in tmp_path.iterdir()] == [f"{EMBEDDED}.lock"]


def test_a_second_compiler_waits(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.mkdir()
    held = filelock.FileLock(tiny / f"{EMBEDDED}.lock")
    with ThreadPoolExecutor(1) as other:  # in one thread, a second lock would never be given
        other.submit(held.acquire).result(10)
        other.submit(time.sleep, 0.3)
        other.submit(held.release)
        compile_tiny(tiny)
    assert "another process: waiting" in capsys.readouterr().err


def test_without_torchvision_a_sentence_says_what_to_install() -> None:
    code = "import sys; sys.modules['torchvision'] = None; import imgserve.compile"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "torchvision" in done.stderr
    assert done.stderr.endswith(": run requirements/install.sh compile\n")


def test_a_failed_compilation_is_told_with_its_reason(tmp_path: Path) -> None:
    given = settings(tmp_path, weights_url_base="http://127.0.0.1:9")  # nobody listens there
    wrong = compiled_model.checkpoints_folder(given) / "resnet152-f82ba261.pth"
    wrong.parent.mkdir()
    wrong.write_bytes(b"another")
    said = r"^compiling resnet152 failed: .*127\.0\.0\.1.*begins with ae448ac8 instead of f82ba261$"
    with pytest.raises(ModelError, match=said):
        compiled_model.prepare(given, "resnet152")


def test_an_image_that_only_serves_says_that_the_model_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_model.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="is not in this image: name it when the image is built"):
        compiled_model.prepare(settings(tmp_path), EMBEDDED)
    with pytest.raises(UnknownModel):  # in no image is such a one
        compiled_model.prepare(settings(tmp_path), "nope")
