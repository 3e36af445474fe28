"""Workers as real processes, with the embedded model, before and behind a pool."""

import io
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import DamagedPicture, WorkerLost
from imgserve.models import pool as pool_module
from imgserve.models import worker as worker_module
from imgserve.models.classifier import Classifier
from imgserve.models.openvino_engine import load
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Result, Worker
from imgserve.settings import BackendSettings
from tests.services.conftest import MODELS
from tests.unit import pictures
from tests.unit.waiting import wait_until

MODEL = MODELS[0]
THREADS = 2
OPTIONS = PredictOptions(top_k=5)
CAT = pictures.path("chelsea.png").read_bytes()
SAME = 2e-6  # probabilities are rounded to six digits; one thread sums in another order than two
LIMIT_S = 2.0

Start = Callable[..., WorkerPool]


def settings(weights_dir: Path, **more: object) -> BackendSettings:
    """Return settings for two threads."""
    return BackendSettings(weights_dir=weights_dir, threads=THREADS, **more)  # type: ignore[arg-type]


def children() -> set[int]:
    """Return the processes that this one started, also those that ended but were not waited for."""
    return {child.pid for child in psutil.Process().children()}


def workers(pool: WorkerPool, model_id: str = MODEL) -> list[Worker]:
    """Return the running workers of a model, the first one first."""
    model = pool._models.get(model_id)
    return sorted(model.workers, key=lambda worker: worker.number) if model else []


def is_alive(pid: int) -> bool:
    """Return whether a process runs (one that ended but was not waited for does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_same(result: Result, expected: Result) -> None:
    """Assert that two answers name the same classes, as probable."""

    def named(predictions: list[Prediction]) -> list[tuple[str, int]]:
        return [(prediction.category, prediction.class_id) for prediction in predictions]

    assert named(result.predictions) == named(expected.predictions)
    for one, other in zip(result.predictions, expected.predictions, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=SAME)
    assert result.thumbnail == expected.thumbnail


@pytest.fixture(scope="module")
def here(weights_dir: Path) -> Classifier:
    """Return the model in this process."""
    return load(settings(weights_dir), MODEL)


@pytest.fixture
def start(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts a pool whose workers run; all end with the test."""
    monkeypatch.setattr(pool_module, "RESTART_PAUSE_S", 0.2)
    before = children()
    pools: list[WorkerPool] = []

    def start(
        *ids: str, copies: int = 2, limit_bytes: int | None = None, **more: object
    ) -> WorkerPool:
        given = settings(weights_dir, copies=copies, **more)
        pools.append(WorkerPool(given, ids or [MODEL], limit_bytes=limit_bytes))
        wait_until(lambda: len(workers(pools[-1], pools[-1].ids[0])) == copies)
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()
    wait_until(lambda: children() <= before)


@pytest.mark.parametrize("copies", [1, 2])
def test_workers_answer_as_the_model_in_this_process(
    start: Start, here: Classifier, copies: int
) -> None:
    pool = start(copies=copies)
    for name in ("chelsea.png", "rocket.jpg", "coffee.png"):
        data = pictures.path(name).read_bytes()
        options = PredictOptions(top_k=3, thumbnail=name.startswith("c"))
        result = pool.classify(MODEL, data, options)
        assert_same(result, here.classify(data, options, limit_pixels=10**7))
        assert len(result.predictions) == 3
        assert min(result.decode_ms, result.preprocess_ms, result.inference_ms) > 0
    assert pool.ready_id() == MODEL


def test_a_worker_says_where_it_looked(start: Start) -> None:
    coffee = pictures.path("coffee.png").read_bytes()
    pool = start()
    explained = pool.classify(MODEL, coffee, PredictOptions(explain=True))
    assert pictures.looked_at_the_coffee(explained.explanation)
    assert pool.classify(MODEL, coffee, OPTIONS).explanation is None


def test_many_who_ask_at_once_all_get_their_own_answers_from_all_workers(
    start: Start, here: Classifier
) -> None:
    pool = start()
    data = [pictures.path(name).read_bytes() for name in ("chelsea.png", "coffee.png")] * 20
    used_s = {worker.pid: cpu_s(worker.pid) for worker in workers(pool)}
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda one: pool.classify(MODEL, one, OPTIONS), data))
    expected = [here.classify(one, OPTIONS, limit_pixels=10**7) for one in data[:2]] * 20
    for result, right in zip(answers, expected, strict=True):
        assert_same(result, right)
    assert len(used_s) == 2
    for pid, before_s in used_s.items():
        assert cpu_s(pid) > before_s


def cpu_s(pid: int) -> float:
    """Return how long a process has computed."""
    return psutil.Process(pid).cpu_times().user


# --- workers that hang, die or grow ------------------------------------------------------------


def test_a_stopped_worker_is_replaced_in_time_and_loses_only_its_own_picture(
    start: Start,
) -> None:
    pool = start(predict_timeout_s=LIMIT_S)
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
    assert not is_alive(stopped.pid)
    wait_until(lambda: len(workers(pool)) == 2)
    assert pool.ready_id() == MODEL


HUNGRY = """
import sys
from imgserve.models import worker_process
from imgserve.models.classifier import Classifier
from imgserve.models.openvino_engine import load

def classify(self, data, options, *, classify=Classifier.classify, **limits):
    if data == b"hungry":
        return [bytes(100_000_000) for _ in range(100)]
    return classify(self, data, options, **limits)

Classifier.classify = classify
sys.exit(worker_process.main(load))
"""


def test_a_picture_writes_nothing_to_the_log_whatever_is_wrong_with_it(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "TIFF")
    tags = buffer.getvalue()
    (first,) = struct.unpack_from("<I", tags, 4)
    (count,) = struct.unpack_from("<H", tags, first)
    # Each claims more bytes than there are.
    broken = b"".join(struct.pack("<HHII", tag, 1, 10**8, 8) for tag in range(1000, 21_000))
    directory = struct.pack("<H", count + 20_000) + tags[first + 2 : first + 2 + 12 * count]
    header = tags[:4] + struct.pack("<I", len(tags))
    pool = start(copies=1, log_level="DEBUG")
    capfd.readouterr()
    picture = header + tags[8:] + directory + broken + bytes(4)
    assert pool.classify(MODEL, picture, OPTIONS).predictions
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_would_take_too_much_memory_is_replaced_and_its_picture_told(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hungry_worker.py").write_text(HUNGRY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.setitem(worker_module.PROGRAMS, "openvino", "hungry_worker")
    pool = start(copies=1)
    pid = workers(pool)[0].pid
    with pytest.raises(WorkerLost, match="needs more memory than a worker may use"):
        pool.classify(MODEL, b"hungry", OPTIONS)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: workers(pool))
    assert pool.classify(MODEL, CAT, OPTIONS).predictions


TIGHT = """
import sys
from imgserve.models import worker_process
from imgserve.models.openvino_engine import load

def limit_growth(_, limit_growth=worker_process.limit_growth):
    limit_growth(worker_process.BYTES_A_SLOT)  # no memory for the pixels

worker_process.limit_growth = limit_growth
sys.exit(worker_process.main(load))
"""


@pytest.mark.parametrize("encoding", ["WEBP", "PNG"])
def test_a_picture_for_which_memory_is_short_is_not_called_damaged(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (tmp_path / "tight_worker.py").write_text(TIGHT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.setitem(worker_module.PROGRAMS, "openvino", "tight_worker")
    pool = start(copies=1)
    buffer = io.BytesIO()
    Image.new("RGBA", (6000, 6000)).save(buffer, encoding)
    assert pool.classify(MODEL, CAT, OPTIONS).predictions
    with pytest.raises(WorkerLost, match="needs more memory than a worker may use"):
        pool.classify(MODEL, buffer.getvalue(), OPTIONS)


def test_the_largest_picture_that_is_allowed_fits_into_the_memory_of_a_worker(
    start: Start,
) -> None:
    side = 7000  # 49 megapixels
    pool = start(copies=1, max_image_pixels=side * side)
    for mode, encoding in (("RGBA", "PNG"), ("I;16", "PNG")):
        buffer = io.BytesIO()
        Image.new(mode, (side, side)).save(buffer, encoding)
        assert pool.classify(MODEL, buffer.getvalue(), OPTIONS).predictions
        with pytest.raises(DamagedPicture):  # and not for want of memory
            pool.classify(MODEL, buffer.getvalue()[: len(buffer.getvalue()) // 3], OPTIONS)
    assert len(workers(pool)) == 1


# --- the process that started them --------------------------------------------------------------

STARTER = """
import sys, time
from pathlib import Path
from imgserve.models.pool import WorkerPool
from imgserve.settings import BackendSettings

folder, model = sys.argv[1:]
pool = WorkerPool(BackendSettings(weights_dir=Path(folder), threads=2), [model])
while len(pool._models[model].workers) < 2:
    time.sleep(0.01)
print(*(worker.pid for worker in pool._models[model].workers), flush=True)
time.sleep(60)
"""


def test_workers_end_by_themselves_when_the_process_that_started_them_is_killed(
    root: Path, weights_dir: Path
) -> None:
    command = [sys.executable, "-c", STARTER, str(weights_dir), MODEL]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        computing = [int(pid) for pid in starter.stdout.readline().split()]
        assert [is_alive(pid) for pid in computing] == [True, True]
        starter.kill()
    wait_until(lambda: not any(map(is_alive, computing)))


def test_a_picture_writes_nothing_to_the_log_through_a_library(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("1").save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    data[200:206] = bytes([5] * 6)  # libtiff has a line for each row behind that
    start(copies=1).classify(MODEL, bytes(data), OPTIONS)
    out, err = capfd.readouterr()
    assert "Fax4Decode" not in out + err
