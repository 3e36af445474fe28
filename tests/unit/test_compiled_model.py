"""A compiled model's files, its engine, and where a model looked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest

from imgserve.errors import Busy, CompiledModelInvalid, InvalidRequest
from imgserve.models import compiled_model
from imgserve.models.classifier import Crop, occlusion
from imgserve.models.openvino_engine import OpenVinoEngine, openvino

SIDE = 8
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def written_model(folder: Path, model: str = "m") -> compiled_model.ModelInfo:
    """Write a compiled model whose files hold words, which is all that these functions look at."""
    (folder / "m-1.xml").write_text("graph")
    (folder / "m-1.bin").write_text("weights")
    info = compiled_model.ModelInfo(
        format=compiled_model.FORMAT,
        model=model,
        title="A model",
        precision="fp32",
        parameters=1,
        top1=50.0,
        transform=compiled_model.Transform(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        categories=["cat", "dog"],
        largest_difference=1e-7,
        versions={"imgserve": "0"},
        graph=compiled_model.described(folder / "m-1.xml", "m-1.xml"),
        weights=compiled_model.described(folder / "m-1.bin", "m-1.bin"),
    )
    compiled_model.write_info(folder, info)
    return info


def test_what_is_written_is_read_back_and_each_precision_has_files_of_its_own(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        compiled_model.read_info(tmp_path, "m")
    fp32 = written_model(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"m-1.bin", "m-1.xml", "m.json"}
    int8 = msgspec.structs.replace(fp32, precision="int8")
    compiled_model.write_info(tmp_path, int8)
    assert compiled_model.read_info(tmp_path, "m") == fp32
    assert compiled_model.read_info(tmp_path, "m", "int8") == int8
    compiled_model.info_path(tmp_path, "m").replace(compiled_model.info_path(tmp_path, "m", "int8"))
    with pytest.raises(CompiledModelInvalid, match=r"m\.int8\.json.*compile m --precision int8"):
        compiled_model.read_info(tmp_path, "m", "int8")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\xff"])
def test_a_damaged_description_says_how_to_mend_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text, encoding="latin-1")
    with pytest.raises(CompiledModelInvalid, match=r"m\.json.*python -m imgserve\.compile m"):
        compiled_model.read_info(tmp_path, "m")


@pytest.mark.parametrize("change", [{"format": compiled_model.FORMAT + 1}, {"model": "other"}])
def test_another_version_or_model_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    info = msgspec.structs.replace(written_model(tmp_path), **change)
    (tmp_path / "m.json").write_bytes(msgspec.json.encode(info))
    with pytest.raises(CompiledModelInvalid, match="another version"):
        compiled_model.read_info(tmp_path, "m")


@pytest.mark.parametrize("name", ["m-1.xml", "m-1.bin"])
def test_a_changed_file_is_noticed_and_unread_where_it_is_gone_or_of_another_size(
    tmp_path: Path, name: str
) -> None:
    path, info = tmp_path / name, written_model(tmp_path)
    compiled_model.check_content(tmp_path, info)
    path.write_text(path.read_text().title())
    with pytest.raises(CompiledModelInvalid, match=rf"{name} is damaged: .*imgserve\.compile m"):
        compiled_model.check_content(tmp_path, compiled_model.read_info(tmp_path, "m"))
    for change in (lambda: path.write_text("weight"), path.unlink):
        change()
        with pytest.raises(CompiledModelInvalid, match=f"{name} is damaged"):
            compiled_model.read_info(tmp_path, "m")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small classifier with random weights: four classes of pictures of 8 x 8."""
    ops = openvino.opset13
    crops = ops.parameter([1, SIDE, SIDE, 3], np.uint8)
    flat = ops.reshape(ops.convert(crops, "f32"), [1, -1], special_zero=False)
    weights = np.random.default_rng(3).normal(0, 0.01, (SIDE * SIDE * 3, 4)).astype(np.float32)
    probabilities = ops.softmax(ops.matmul(flat, weights, False, False), axis=1)
    path = tmp_path_factory.mktemp("graph") / "small.xml"
    openvino.save_model(openvino.Model([probabilities], [crops]), path, compress_to_fp16=False)
    return path


def pictures(count: int) -> list[Crop]:
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)]


def test_answers_at_once_are_those_of_one_alone(graph: Path) -> None:
    shown = pictures(200)
    engine = OpenVinoEngine(graph, threads=4)
    alone = [engine(each) for each in shown]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(engine, shown))
    assert np.allclose(alone, at_once, atol=1e-6)
    assert len({each.tobytes() for each in alone}) == len(shown)


@pytest.mark.parametrize(
    ("precision", "computed"),
    [("auto", "bf16" if HAS_BF16 else "fp32"), ("fp32", "fp32"), ("int8", "int8")],
)
def test_the_precision_is_the_one_asked_for_or_the_machines(
    graph: Path, precision: str, computed: str
) -> None:
    engine = OpenVinoEngine(graph, threads=1, precision=precision)
    assert engine.precision == computed
    used = engine._compiled.get_property("INFERENCE_PRECISION_HINT")
    assert used.to_string() == ("bf16" if computed == "bf16" else "f32")


@pytest.mark.extra
@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no instructions for bf16")
def test_bf16_answers_nearly_as_fp32(graph: Path) -> None:
    exact, near = (OpenVinoEngine(graph, threads=1, precision=name) for name in ("fp32", "bf16"))
    differences = [np.abs(exact(each) - near(each)).max() for each in pictures(20)]
    assert 0 < max(differences) < 0.1


# Where a model looked


LIT_SIDE = 64


def lit(y: int, x: int) -> Crop:
    """Return a dark picture with one bright spot."""
    picture = np.zeros((1, LIT_SIDE, LIT_SIDE, 3), np.uint8)
    picture[0, y, x] = 255
    return picture


def brightest(seen: Crop) -> np.ndarray:
    """Return the probabilities of a model that knows no more than the brightest spot."""
    return seen.max(keepdims=True)[0, 0] / np.float32(255)


def explain(
    picture: Crop, inference_s: float = 0.0, *, engine: Callable[[Crop], np.ndarray] = brightest
) -> list[list[float]]:
    """Return where such a model looks."""
    return occlusion(engine, picture, brightest(picture)[0], inference_s=inference_s, limit_s=6.4)


@pytest.mark.parametrize(("y", "x"), [(4, 4), (4, 60), (28, 36), (60, 4), (60, 60)])
def test_the_place_that_matters_is_1_and_places_far_away_are_0(y: int, x: int) -> None:
    picture = lit(y, x)
    shares = np.array(explain(picture))
    assert picture.max() == 255  # it stays as it is
    assert shares.shape == (8, 8)
    assert shares[y // 8, x // 8] == 1
    rows, columns = np.nonzero(shares)
    assert max(abs(rows - y // 8)) <= 1
    assert max(abs(columns - x // 8)) <= 1


def test_where_nothing_matters_or_what_is_covered_is_likelier_all_is_0() -> None:
    assert not np.any(explain(np.full((1, LIT_SIDE, LIT_SIDE, 3), 9, np.uint8)))
    assert not np.any(explain(lit(4, 4), engine=lambda seen: 2 - brightest(seen)))


def test_the_finest_grid_that_fits_into_the_time_is_used_or_the_model_is_too_slow() -> None:
    for inference_s, side in ((0.1, 8), (0.101, 4), (0.4, 4)):
        assert np.array(explain(lit(4, 4), inference_s)).shape == (side, side)
    with pytest.raises(InvalidRequest, match=r"took 0\.4 s for the picture, too long"):
        explain(lit(4, 4), 0.401)


@pytest.mark.parametrize(("look_s", "ends"), [(0.2, True), (0.21, False)])
def test_it_ends_when_it_takes_twice_the_time(
    look_s: float, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Crop] = []

    def look(seen: Crop) -> np.ndarray:
        looks.append(seen)
        return brightest(seen)

    monkeypatch.setattr("imgserve.models.classifier.perf_counter", lambda: len(looks) * look_s)
    with nullcontext() if ends else pytest.raises(Busy, match="ask again, or without explain"):
        explain(lit(4, 4), engine=look)
    assert len(looks) == (64 if ends else 61)
