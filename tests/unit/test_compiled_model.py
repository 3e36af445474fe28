"""A compiled model's files, and the engine: at once as alone, in the machine's precision."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from imgserve.errors import CompiledModelInvalid
from imgserve.models import compiled_model
from imgserve.models.openvino_engine import OpenVinoEngine, openvino
from imgserve.models.transform import Crop

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


def test_what_is_written_is_read_back_and_not_found_before(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compiled_model.read_info(tmp_path, "m")
    info = written_model(tmp_path)
    assert compiled_model.read_info(tmp_path, "m") == info
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-1.bin", "m-1.xml", "m.json"]


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


def test_a_model_in_another_precision_has_files_of_its_own(tmp_path: Path) -> None:
    fp32 = written_model(tmp_path)
    int8 = msgspec.structs.replace(fp32, precision="int8")
    compiled_model.write_info(tmp_path, int8)
    assert compiled_model.read_info(tmp_path, "m") == fp32
    assert compiled_model.read_info(tmp_path, "m", "int8") == int8
    compiled_model.info_path(tmp_path, "m").replace(compiled_model.info_path(tmp_path, "m", "int8"))
    with pytest.raises(CompiledModelInvalid, match=r"m\.int8\.json.*compile m --precision int8"):
        compiled_model.read_info(tmp_path, "m", "int8")


@pytest.mark.parametrize("text", ["weight", None])
@pytest.mark.parametrize("name", ["m-1.xml", "m-1.bin"])
def test_a_missing_file_or_one_of_another_size_is_noticed_unread(
    tmp_path: Path, name: str, text: str | None
) -> None:
    written_model(tmp_path)
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(CompiledModelInvalid, match=f"{name} is damaged"):
        compiled_model.read_info(tmp_path, "m")


@pytest.mark.parametrize(("name", "text"), [("m-1.xml", "Graph"), ("m-1.bin", "wEights")])
def test_a_changed_file_is_noticed(tmp_path: Path, name: str, text: str) -> None:
    info = written_model(tmp_path)
    compiled_model.check_content(tmp_path, info)
    (tmp_path / name).write_text(text)
    with pytest.raises(CompiledModelInvalid, match=rf"{name} is damaged: .*imgserve\.compile m"):
        compiled_model.check_content(tmp_path, compiled_model.read_info(tmp_path, "m"))


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
