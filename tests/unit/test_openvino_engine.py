"""The engine: one inference alone and several at once give the same answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgserve.models.openvino_engine import OpenVinoEngine
from imgserve.models.openvino_import import openvino
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
