"""A small network is quantized for real; the gate is tried from both sides."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from imgserve.compile import __main__ as compiling
from imgserve.compile import export, quantize, torchvision
from imgserve.compile.original import Original, of_module
from imgserve.errors import CompileMismatch, EvaluationFailed, ModelError
from imgserve.models import compiled_model, openvino_engine
from imgserve.models.catalogue import Entry
from imgserve.models.compiled_model import FP32, INT8, ModelInfo, Transform
from imgserve.models.openvino_engine import openvino
from imgserve.settings import BackendSettings
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"
SMALL = Transform(32, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _pointwise(weight: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    layer.weight = nn.Parameter(weight[..., None, None])
    return layer


def _colours(loud: float, before: int) -> nn.Module:
    """Return a small network that says which of three colours a picture has most of.

    Args:
        loud: how many times larger one channel is, which is not looked at in the end. All share
            one range: the louder it is, the less do 8 bits say of the others.
        before: layers that change nothing, before that one.
    """
    return nn.Sequential(
        *(_pointwise(torch.eye(3)) for _ in range(before)),
        _pointwise(torch.cat([torch.eye(3), torch.full((1, 3), loud)])),
        nn.ReLU(),
        _pointwise(torch.eye(3, 4) * 20),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def _original(module: nn.Module, transform: Transform = SMALL) -> Original:
    return of_module(module.eval(), transform, ["red", "green", "blue"], Entry(title="A model"))


def _exported(
    folder: Path, precision: str, loud: float = 1, before: int = 0, **more: Any
) -> ModelInfo:
    original = _original(_colours(loud, before))
    return export.export(EMBEDDED, original, folder, precision=precision, **more)


@pytest.mark.parametrize(
    ("loud", "tried", "floating"),
    [(1, 1, "normalisation"), (100_000, 3, "normalisation, the first three convolutions")],
)
def test_the_fastest_model_that_agrees_is_kept_and_says_how_far(
    loud: float, tried: int, floating: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _exported(tmp_path, INT8, loud).quantization
    assert capsys.readouterr().err.count("quantizing") == tried
    assert (found.floating, found.pictures) == (floating, 300)
    assert found.agreement >= quantize.LEAST_AGREEMENT
    info = compiled_model.read_info(tmp_path, EMBEDDED, INT8)
    assert (info.precision, info.quantization) == (INT8, found)
    assert "nncf" in info.versions
    assert "FakeQuantize" in (tmp_path / info.graph.name).read_text()


def test_a_model_that_finds_other_classes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CompileMismatch, match=r"int8 finds the same class .* use PRECISION=fp32"):
        _exported(tmp_path, INT8, loud=100_000, before=3)
    assert list(tmp_path.iterdir()) == []
    assert _exported(tmp_path, FP32, loud=100_000, before=3).quantization is None


def _photos(folder: Path, count: int) -> Path:
    """Return pictures of nearly one grey, in a folder for each of the colours that leads."""
    random = np.random.default_rng(0)
    for number in range(count):
        colour = random.integers(200, 204, 3)
        colour[number % 3] += 8
        path = folder / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), tuple(map(int, colour))).save(path)
    return folder


def test_photos_of_ones_own_judge_int8_by_what_is_right(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", 60)
    found = _exported(tmp_path, INT8, photos=photos).quantization
    assert (found.pictures, found.right_in_fp32) == (30, 1)
    assert found.right >= 1 - quantize.MOST_LOST
    with pytest.raises(CompileMismatch, match=r"int8 is right about .* of 30 pictures, fp32 about"):
        _exported(tmp_path, INT8, loud=100_000, before=3, photos=photos)


def test_photos_that_cannot_be_used_are_named_before_anything_is_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for count, said in ((49, "49 pictures"), (50, r"0\.png: ")):
        photos = _photos(tmp_path / "photos", count)
        (photos / "0" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(EvaluationFailed, match=said):
            _exported(tmp_path, INT8, photos=photos)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("lost", "is_enough"), [(0.01, True), (0.02, False)])
def test_int8_may_lose_a_hundredth_of_what_fp32_has_right(lost: float, is_enough: bool) -> None:
    expected = _rows(*[[0.9, 0.1]] * 100)
    actual = expected.copy()
    actual[: round(100 * lost)] = [0.1, 0.9]
    found = quantize.compare(expected, actual, "none", [0] * 100)
    assert quantize._is_good_enough(found, 1.0) == is_enough


@pytest.mark.parametrize(("free", "error"), [(0, OSError), (10**9, RuntimeError)])
def test_a_full_disk_is_named(
    free: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = quantize.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(quantize.shutil, "disk_usage", lambda _: usage)
    (tmp_path / "model.bin").symlink_to("/dev/full")
    with pytest.raises(error, match="iostream" if free else "No space left on device"):
        export.write_graph(_original(_colours(1, 0)), tmp_path / "model.xml")


def test_quantizing_keeps_quiet_and_leaves_the_handlers_of_others_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import nncf  # here: it takes seconds, and it must make its logger itself

    logger, others = logging.getLogger(nncf.__name__), logging.NullHandler()
    logger.addHandler(others)
    _exported(tmp_path, INT8)
    logger.removeHandler(others)
    assert others.level == logging.NOTSET
    assert "nncf" not in "".join(capfd.readouterr()).lower()


def test_both_precisions_lie_side_by_side_and_a_backend_loads_the_one_it_is_set_to(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    fp32, int8 = [_exported(folder, precision) for precision in (FP32, INT8, FP32, INT8)][2:]
    names = {f"{EMBEDDED}.json", f"{EMBEDDED}.int8.json"}
    names |= {file.name for info in (fp32, int8) for file in (info.graph, info.weights)}
    assert {path.name for path in folder.iterdir()} == names
    for info in (fp32, int8):
        settings = BackendSettings(weights_dir=tmp_path, threads=2, precision=info.precision)
        assert compiled_model.read_info(folder, EMBEDDED, info.precision) == info
        assert compiled_model.prepare(settings, EMBEDDED) == info.weights.size_bytes
        loaded = openvino_engine.load(settings, EMBEDDED)
        assert pictures.probabilities(loaded, pictures.picture("coffee.png")).argmax() == 0
    (folder / fp32.weights.name).unlink()
    assert openvino_engine.load(settings, EMBEDDED).transform == SMALL  # int8, which is whole


def test_a_missing_model_is_compiled_in_the_precision_that_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    settings = BackendSettings(weights_dir=tmp_path, threads=2, precision=INT8)
    with pytest.raises(ModelError, match="--precision int8 "):
        compiled_model.prepare(settings, EMBEDDED)


def _rows(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("expected", "actual", "agreement", "same_class"),
    [
        ([0.6, 0.4], [0.2, 0.8], 0.5, 0.5),  # the other class is clearly worse
        ([0.506, 0.494], [0.2, 0.8], 0.5, 0.5),  # by just over one in a hundred
        ([0.504, 0.496], [0.2, 0.8], 1.0, 0.5),  # as good as equally probable
        ([0.6, 0.4], [float("nan"), 0.4], 0.5, 0.5),
    ],
)
def test_near_ties_in_fp32_are_the_same_answer_and_are_told_apart(
    expected: list[float], actual: list[float], agreement: float, same_class: float
) -> None:
    found = quantize.compare(_rows(expected, [0.9, 0.1]), _rows(actual, [0.8, 0.2]), "none")
    assert (found.agreement, found.same_class, found.pictures) == (agreement, same_class, 2)


# Pictures of 64 x 64 in patches of 4 x 4 and 16 x 16, as 8 numbers each.
SMALL_SWIN = partial(
    torchvision.models.SwinTransformer, [4, 4], 8, [1, 1], num_heads=[2, 2], window_size=[4, 4]
)
SMALL_VIT = partial(
    torchvision.models.VisionTransformer, 64, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
)


@pytest.mark.parametrize(
    ("build", "depthwise", "attention"),
    [
        (torchvision.models.resnet18, 0, False),
        (torchvision.models.mobilenet_v2, 17, False),
        (SMALL_SWIN, 0, True),
        (SMALL_VIT, 0, True),
    ],
)
def test_choices_leave_normalisation_and_ever_more_layers_in_float32(
    build: Callable[[], nn.Module], depthwise: int, attention: bool, tmp_path: Path
) -> None:
    transform = msgspec.structs.replace(SMALL, resize_size=64, crop_size=64)
    export.write_graph(_original(build(), transform), tmp_path / "model.xml")
    model = openvino.Core().read_model(tmp_path / "model.xml")
    kinds = {layer.get_friendly_name(): layer.get_type_name() for layer in model.get_ops()}
    kept = [[kinds[name] for name in layers] for layers in quantize.choices(model).values()]
    assert all({"Convert", "Transpose", "Divide"} <= set(layers) for layers in kept)
    assert sorted(map(len, kept)) == [len(layers) for layers in kept]
    assert kept[-1].count("GroupConvolution") == depthwise
    assert quantize.has_attention(model) is attention


def test_pictures_to_check_with_show_nothing_that_was_calibrated_with() -> None:
    calibrated, held_out = (
        {name.partition("_")[0] for names in packages.values() for name in names}
        for packages in (quantize.CALIBRATION, quantize.HELD_OUT)
    )
    assert calibrated & held_out == set()


def test_parts_of_pictures_are_the_same_each_time_and_as_large_as_the_model_wants() -> None:
    first, second = (quantize.bundled(SMALL).held_out for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
    assert {part.shape for part in first} == {(1, 32, 32, 3)}
    assert len({part.tobytes() for part in first}) == len(first)


def test_help_says_that_int8_may_be_refused_and_another_precision_is_not_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--help"], [EMBEDDED, "--precision", "int4"]):
        with pytest.raises(SystemExit):
            compiling.main(arguments)
    said = capsys.readouterr()
    assert "--precision {fp32,int8}" in said.out
    assert "refused" in said.out
    assert "invalid choice: 'int4'" in said.err
