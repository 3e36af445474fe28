"""Workers as real processes, with the embedded model, before and behind a pool."""

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import astuple
from PIL import Image

from imgserve.contract import PredictOptions
from imgserve.errors import DamagedPicture, WorkerLost
from imgserve.models import pool as pool_module
from imgserve.models import worker as worker_module
from imgserve.models.openvino_engine import load
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Worker
from imgserve.settings import BackendSettings
from tests.services.conftest import MODELS
from tests.services.test_supervisor import is_alive
from tests.unit import pictures
from tests.unit.waiting import wait_until

MODEL = MODELS[0]
OPTIONS = PredictOptions(top_k=3, thumbnail=True)
CAT, COFFEE = (pictures.path(name).read_bytes() for name in ("chelsea.png", "coffee.png"))
SAME = 2e-6  # probabilities are rounded to six digits; one thread sums in another order than two
LIMIT_S = 2.0

Start = Callable[..., WorkerPool]


def settings(weights_dir: Path, **more: Any) -> BackendSettings:
    return BackendSettings(weights_dir=weights_dir, threads=2, **more)


def children() -> set[int]:
    """Return the processes that this one started, also those that ended but were not waited for."""
    return {child.pid for child in psutil.Process().children()}


def workers(pool: WorkerPool) -> list[Worker]:
    """Return the running workers of a pool's model, the first one first."""
    return sorted(pool._models[MODEL].workers, key=lambda worker: worker.number)


@pytest.fixture
def start(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts a pool whose workers run; all end with the test."""
    monkeypatch.setattr(pool_module, "RESTART_PAUSE_S", 0.2)
    before = children()
    pools: list[WorkerPool] = []

    def start(copies: int = 1, **more: Any) -> WorkerPool:
        pools.append(WorkerPool(settings(weights_dir, copies=copies, **more), [MODEL]))
        wait_until(lambda: len(workers(pools[-1])) == copies)
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()
    wait_until(lambda: children() <= before)


def test_many_who_ask_at_once_all_get_the_models_own_answers_from_all_workers(
    start: Start, weights_dir: Path
) -> None:
    here = load(settings(weights_dir), MODEL)
    pool = start(copies=2)
    used_s = {worker.pid: cpu_s(worker.pid) for worker in workers(pool)}
    with ThreadPoolExecutor(8) as callers:
        answers = list(
            callers.map(lambda one: pool.classify(MODEL, one, OPTIONS), [CAT, COFFEE] * 20)
        )
    for picture, results in ((CAT, answers[::2]), (COFFEE, answers[1::2])):
        expected = here.classify(picture, OPTIONS, limit_pixels=10**7)
        near = [
            (one.category, one.class_id, pytest.approx(one.probability, abs=SAME))
            for one in expected.predictions
        ]
        for result in results:
            assert result.thumbnail == expected.thumbnail
            assert list(map(astuple, result.predictions)) == near
            assert min(result.decode_ms, result.preprocess_ms, result.inference_ms) > 0
    assert len(used_s) == 2
    for pid, before_s in used_s.items():
        assert cpu_s(pid) > before_s


def cpu_s(pid: int) -> float:
    """Return how long a process has computed."""
    return psutil.Process(pid).cpu_times().user


def with_broken_tags() -> bytes:
    """Return a TIFF whose tags claim more bytes than there are: Pillow warns of each."""
    tags = pictures.saved(Image.new("RGB", (64, 64)), "TIFF")
    (first,) = struct.unpack_from("<I", tags, 4)
    (count,) = struct.unpack_from("<H", tags, first)
    broken = b"".join(struct.pack("<HHII", tag, 1, 10**8, 8) for tag in range(1000, 21_000))
    directory = struct.pack("<H", count + 20_000) + tags[first + 2 : first + 2 + 12 * count]
    return tags[:4] + struct.pack("<I", len(tags)) + tags[8:] + directory + broken + bytes(4)


def with_broken_rows() -> bytes:
    """Return a TIFF about whose rows libtiff has a line each."""
    data = bytearray(
        pictures.saved(Image.linear_gradient("L").convert("1"), "TIFF", compression="group4")
    )
    data[200:206] = bytes([5] * 6)
    return bytes(data)


def test_a_picture_writes_nothing_to_the_log_whatever_is_wrong_with_it(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = start(log_level="DEBUG")
    capfd.readouterr()
    for picture in (with_broken_tags(), with_broken_rows()):
        assert pool.classify(MODEL, picture, OPTIONS).predictions
    assert capfd.readouterr() == ("", "")


# --- workers that hang, die or grow ------------------------------------------------------------


def test_a_stopped_worker_is_replaced_in_time_and_loses_only_its_own_picture(
    start: Start,
) -> None:
    pool = start(copies=2, predict_timeout_s=LIMIT_S)
    stopped = workers(pool)[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    waited_s: list[float] = []

    def ask(_: int) -> str:
        asked_s = time.monotonic()
        try:
            return pool.classify(MODEL, CAT, OPTIONS).predictions[0].category
        except WorkerLost as exc:
            return str(exc)
        finally:
            waited_s.append(time.monotonic() - asked_s)

    with ThreadPoolExecutor(8) as callers:
        said = list(callers.map(ask, range(40)))
    lost = [answer for answer in said if "send the picture again" in answer]
    assert lost == [
        "the worker that had this picture took more than 2 s and is replaced: "
        "send the picture again"
    ]
    assert max(waited_s) < LIMIT_S + 0.5
    assert time.monotonic() - began_s < 10
    wait_until(lambda: not is_alive(stopped.pid))  # its sockets close a moment before it ends
    wait_until(lambda: len(workers(pool)) == 2)
    assert pool.ready_id() == MODEL


PROGRAM = """
import sys
from imgserve.models import worker_process
from imgserve.models.classifier import Classifier
from imgserve.models.openvino_engine import load

{change}
sys.exit(worker_process.main(load))
"""
HUNGRY = """
def classify(self, data, options, *, classify=Classifier.classify, **limits):
    if len(data) < 10_000:
        return [bytes(100_000_000) for _ in range(100)]
    return classify(self, data, options, **limits)

Classifier.classify = classify
"""
# There is no memory for the pixels, and decoders call that damage.
TIGHT = """
def limit_growth(_, limit_growth=worker_process.limit_growth):
    limit_growth(worker_process.BYTES_A_SLOT)

worker_process.limit_growth = limit_growth
"""


@pytest.mark.parametrize(
    ("change", "side", "encoding"),
    [(HUNGRY, 1, "PNG"), (TIGHT, 6000, "WEBP"), (TIGHT, 6000, "PNG")],
    ids=["hungry", "WebP", "PNG"],
)
def test_a_worker_that_would_take_too_much_memory_is_replaced_and_its_picture_told(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    side: int,
    encoding: str,
) -> None:
    (tmp_path / "odd_worker.py").write_text(PROGRAM.format(change=change))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.setitem(worker_module.PROGRAMS, "openvino", "odd_worker")
    pool = start()
    pid = workers(pool)[0].pid
    assert pool.classify(MODEL, CAT, OPTIONS).predictions
    with pytest.raises(WorkerLost, match="needs more memory than a worker may use"):
        pool.classify(MODEL, pictures.saved(Image.new("RGBA", (side, side)), encoding), OPTIONS)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: workers(pool))
    assert pool.classify(MODEL, CAT, OPTIONS).predictions


def test_the_largest_picture_that_is_allowed_fits_into_the_memory_of_a_worker(
    start: Start,
) -> None:
    side = 7000  # 49 megapixels
    pool = start(max_image_pixels=side * side)
    for mode in ("RGBA", "I;16"):
        picture = pictures.saved(Image.new(mode, (side, side)), "PNG")
        assert pool.classify(MODEL, picture, OPTIONS).predictions
        with pytest.raises(DamagedPicture):  # and not for want of memory
            pool.classify(MODEL, picture[: len(picture) // 3], OPTIONS)
    assert len(workers(pool)) == 1


def test_a_worker_ends_by_itself_when_the_backends_end_of_its_connection_closes(
    weights_dir: Path,
) -> None:
    """As it does when the backend is killed; no other worker holds that end open."""
    for worker in [Worker(settings(weights_dir), MODEL, slots=1) for _ in range(2)]:
        worker._control.close()
        assert worker._process.wait(30) == 0
