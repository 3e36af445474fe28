"""Architectures are compiled for real; those whose weights need a hub with random ones."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from torch import nn

from imgserve.compile import __main__ as compiling
from imgserve.compile import export, torchvision
from imgserve.compile.original import NOISE_PICTURES, SAMPLES, Original, check_crops, of_module
from imgserve.compile.weights import default_weights, transform_of
from imgserve.errors import CompileMismatch
from imgserve.models import catalogue, compiled_model, openvino_engine
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import ModelInfo, Transform
from imgserve.models.transform import crop
from imgserve.settings import BackendSettings
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"
SMALL = "squeezenet1_1"
LARGE = [name for name in catalogue.catalogue(None) if not name.startswith("efficientnet")]
ENTRY = catalogue.Entry(title="A model")
SMALL_TRANSFORM = Transform(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the embedded model compiled into it."""
    out = tmp_path_factory.mktemp("weights") / "compiled"
    assert compiling.main([EMBEDDED, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def compiled(folder: Path) -> Classifier:
    return openvino_engine.load(
        BackendSettings(weights_dir=folder.parent, threads=2, precision="fp32"), EMBEDDED
    )


SHAPES = pictures.shapes()
SHAPES["retina.jpg"].thumbnail((1000, 1000))  # larger ones are brought near the model's size first


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Callable[..., torch.Tensor]]:
    """Return torchvision's own module and transforms: no code of ours."""
    weights = torchvision.models.get_model_weights(EMBEDDED).DEFAULT
    return torchvision.models.get_model(EMBEDDED, weights=weights).eval(), weights.transforms()


@pytest.mark.parametrize("shape", [*pictures.NAMES, "cat1x1", "cat1999x257"])
def test_compiled_answers_equal_torch_and_its_own_transforms(
    compiled: Classifier, trained: tuple[nn.Module, Callable[..., torch.Tensor]], shape: str
) -> None:
    module, transforms = trained
    with torch.inference_mode():
        reference = module(transforms(SHAPES[shape])[None]).softmax(dim=1)[0].numpy()
    probabilities = pictures.probabilities(compiled, SHAPES[shape])
    assert np.abs(probabilities - reference).max() < 1e-3
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)


def _random(model_id: str) -> Original:
    torch.manual_seed(0)
    module, entry = torchvision.models.get_model(model_id).eval(), default_weights(model_id)
    return of_module(module, transform_of(entry), entry.meta["categories"], ENTRY)


@pytest.mark.parametrize(
    "model_id", [SMALL, *(pytest.param(name, marks=pytest.mark.large) for name in LARGE)]
)
def test_an_architecture_compiles_and_agrees_with_torch(model_id: str, tmp_path: Path) -> None:
    original = _random(model_id)
    info = export.export(model_id, original, tmp_path)
    assert info.largest_difference < export.TOLERANCE
    compiled = openvino_engine.OpenVinoEngine(tmp_path / info.graph.name, threads=2)
    for picture in map(pictures.picture, ("chelsea.png", "retina.jpg")):
        seen = crop(picture, original.transform)
        assert np.abs(compiled(seen) - original.engine(seen)).max() < 1e-4


def test_a_compiled_model_says_what_it_is(folder: Path) -> None:
    info = compiled_model.read_info(folder, EMBEDDED)
    assert info.categories[281] == "tabby"
    assert info.parameters == 4_652_008
    assert set(info.versions) == {"imgserve", "torch", "torchvision", "openvino"}
    assert info.precision == "fp32"
    names = {f"{EMBEDDED}.json", f"{EMBEDDED}.lock", info.graph.name, info.weights.name}
    assert {path.name for path in folder.iterdir()} == names


def test_what_depends_on_the_shape_alone_is_computed_when_compiling(folder: Path) -> None:
    graph = (folder / compiled_model.read_info(folder, EMBEDDED).graph.name).read_text()
    assert graph.count('type="Pad"') == 49  # of as many convolutions
    assert 'type="ShapeOf"' not in graph


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
    (tiny / compiled_model.read_info(tiny, EMBEDDED).weights.name).write_text("damaged")
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
@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_compiled_is_named_and_leaves_nothing_behind(
    words: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)  # as if it were not installed
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    monkeypatch.chdir(tmp_path)
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
