"""The engine: one inference alone and several at once give the same answers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgserve.engine import openvino_engine
from imgserve.engine.openvino_engine import Inferences, OpenVinoEngine
from imgserve.engine.runtime import openvino
from imgserve.engine.transform import Crop

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


def test_the_first_uses_all_threads_and_those_beside_it_one_each(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first inference is held up until the second is done."""
    engine = OpenVinoEngine(graph, threads=2)
    used: list[Inferences] = []
    begun, done = threading.Event(), threading.Event()
    infer = Inferences.__call__

    def held_up(self: Inferences, crops: Crop) -> np.ndarray:
        used.append(self)
        if len(used) == 1:
            begun.set()
            assert done.wait(10)
        return infer(self, crops)

    monkeypatch.setattr(Inferences, "__call__", held_up)
    first, second = pictures(2)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(engine, first)
        assert begun.wait(10)
        engine(second)
        done.set()
        waiting.result(10)
    engine(first)
    assert used == [engine._alone, engine._together, engine._alone]
    assert engine._alone is not engine._together


def weights_bytes(graph: Path) -> int:
    return graph.with_suffix(".bin").stat().st_size


@pytest.mark.parametrize(("over", "held_once"), [(0, False), (1, True)])
def test_weights_over_the_limit_are_held_once(
    over: int, held_once: bool, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "SMALL_BYTES", weights_bytes(graph) - over)
    engine = OpenVinoEngine(graph, threads=2)
    assert (engine._alone is engine._together) == held_once


def test_one_thread_needs_one_arrangement(graph: Path) -> None:
    engine = OpenVinoEngine(graph, threads=1)
    assert engine._alone is engine._together
