"""The engine: at once as alone, and in the precision that the machine has."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgserve.models.openvino_engine import OpenVinoEngine, openvino
from imgserve.models.transform import Crop

SIDE = 8


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
    assert all(
        np.allclose(one, other, atol=1e-6) for one, other in zip(alone, at_once, strict=True)
    )
    assert len({each.tobytes() for each in alone}) == len(shown)


HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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
