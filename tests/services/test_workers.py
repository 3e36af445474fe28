"""Workers, which are real processes: one by one, and the embedded model's in a pool."""

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import astuple, replace
from PIL import Image

from imgserve import errors
from imgserve.contract import PredictOptions
from imgserve.errors import DamagedPicture, WorkerLost
from imgserve.models import pool as pool_module
from imgserve.models import worker as worker_module
from imgserve.models.classifier import LIMIT_S as EXPLAIN_S
from imgserve.models.openvino_engine import load
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Result, Worker
from imgserve.models.worker_process import BYTES_A_PIXEL, BYTES_A_SLOT, KEPT_BYTES
from imgserve.settings import BackendSettings
from tests.services.conftest import MODELS
from tests.services.odd_worker import CAT as ANSWER
from tests.services.test_supervisor import is_alive
from tests.unit import pictures
from tests.unit.waiting import wait_until

MODEL = MODELS[0]
OPTIONS = PredictOptions(top_k=3, thumbnail=True)
CAT, COFFEE = (pictures.path(name).read_bytes() for name in ("chelsea.png", "coffee.png"))
SAME = 2e-6  # probabilities are rounded to six digits; one thread sums in another order than two
LIMIT_S = 2.0

Start = Callable[..., WorkerPool]
Odd = Callable[..., Worker]


def settings(weights_dir: Path, **more: Any) -> BackendSettings:
    return BackendSettings(weights_dir=weights_dir, threads=2, **more)


def children() -> set[int]:
    """Return the processes that this one started, also those that ended but were not waited for."""
    return {child.pid for child in psutil.Process().children()}


def workers(pool: WorkerPool) -> list[Worker]:
    """Return the running workers of a pool's model, the first one first."""
    return sorted(pool._models[MODEL].workers, key=lambda worker: worker.number)


# --- one worker, whose model does as its pictures say -----------------------------------------


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    """Return a function that starts a worker of ``odd_worker``; all end with the test."""
    before = children()
    started: list[Worker] = []

    def start(kind: str = "", *, slots: int = 1, engine: str = "openvino", **more: Any) -> Worker:
        monkeypatch.setenv("ODD_WORKER", kind)
        monkeypatch.setitem(worker_module.PROGRAMS, engine, "tests.services.odd_worker")
        started.append(Worker(BackendSettings(engine=engine, **more), "small", slots=slots))
        return started[-1]

    yield start
    for worker in started:
        worker.end()
    assert children() <= before


def classify(worker: Worker, picture: str = "a cat", slot: int = 0) -> Result:
    return worker.slots[slot].classify(picture.encode(), OPTIONS)


def in_thread(function: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("engine", "timeout_s", "explain_s"), [("openvino", 30.0, EXPLAIN_S), ("torch", 6.0, 2.0)]
)
def test_a_worker_is_told_what_it_needs_and_its_result_comes_back_whole(
    odd: Odd, engine: str, timeout_s: float, explain_s: float
) -> None:
    how: dict[str, Any] = {"predict_timeout_s": timeout_s, "log_level": "DEBUG"}
    with Path(__file__).open() as terminal, open(os.dup(0)) as usual:  # noqa: PTH123  a number
        os.dup2(terminal.fileno(), 0)
        worker = odd(engine=engine, slots=2, max_image_pixels=1000, **how)
        os.dup2(usual.fileno(), 0)
    told = [
        *([KEPT_BYTES, KEPT_BYTES, 1], ["small", "DEBUG", 10], ["/dev/null", True]),
        2 * (BYTES_A_SLOT + 1000 * BYTES_A_PIXEL),  # by which it may grow
        *("a cat", 3, True, False, {"limit_pixels": 1000, "explain_s": explain_s}),
    ]
    assert classify(worker) == replace(ANSWER, thumbnail=json.dumps(told))
    assert (worker.precision, worker.classes, worker.has_exited) == ("bf16", 2, False)


def test_a_picture_that_cannot_be_used_is_refused_as_the_error_it_is_and_the_next_computed(
    odd: Odd, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = odd()
    for kind in (errors.DamagedPicture, errors.TooManyPixels, errors.UnsupportedFormat):
        with pytest.raises(kind, match=r"^use another picture$"):
            classify(worker, f"raise {kind.__name__}")
    assert capfd.readouterr().out == ""
    with pytest.raises(RuntimeError, match="an entry above says why"):
        classify(worker, "raise AFault")
    assert "ZeroDivisionError: use another picture" in capfd.readouterr().out
    assert classify(worker).predictions == ANSWER.predictions


def test_several_slots_are_computed_at_once(odd: Odd) -> None:
    worker = odd(slots=3)
    with ThreadPoolExecutor(3) as callers:
        assert list(callers.map(classify, [worker] * 3, ["together"] * 3, range(3)))


@pytest.mark.parametrize(
    ("kind", "start_s", "said"),
    [
        ("without weights", 30, "^no weights: try again$"),
        ("ending", 30, "the worker that loaded small ended with status 3: the log says why"),
        ("", 0.01, "loading small took more than"),
    ],
)
def test_a_worker_that_does_not_load_its_model_ends_and_says_why(
    odd: Odd, monkeypatch: pytest.MonkeyPatch, kind: str, start_s: float, said: str
) -> None:
    monkeypatch.setattr(worker_module, "START_TIMEOUT_S", start_s)
    with pytest.raises(errors.ModelError, match=said):
        odd(kind)


def test_a_worker_within_its_time_is_left_alone_also_after_many_pictures(odd: Odd) -> None:
    worker = odd(predict_timeout_s=0.5)
    watching = in_thread(worker.wait_until_exit)
    assert {classify(worker).predictions[0].category for _ in range(3000)} == {"cat"}
    assert watching.is_alive()
    assert not worker.is_overdue
    worker.end()
    watching.join()


def test_a_worker_that_ends_while_it_computes_loses_that_picture_alone(odd: Odd) -> None:
    worker = odd()
    with pytest.raises(WorkerLost, match="ended and is replaced: send the picture again"):
        classify(worker, "end")
    assert worker.has_exited
    with pytest.raises(worker_module.WorkerExited):
        classify(worker)


def test_a_worker_that_is_at_its_pictures_for_long_is_stuck(
    odd: Odd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker_module, "STUCK_S", 0.1)
    worker = odd(slots=2, predict_timeout_s=5.0)
    watching = in_thread(worker.wait_until_exit)
    first = in_thread(classify, worker, f"wait {tmp_path}/end", 0)
    wait_until(lambda: worker.slots[0].elapsed_s > 0.1)
    assert not worker.is_stuck()  # the other slot is free
    second = in_thread(classify, worker, f"wait {tmp_path}/end", 1)
    wait_until(worker.is_stuck)
    (tmp_path / "end").touch()
    first.join(10)
    second.join(10)
    assert not worker.is_stuck()
    worker.end()
    watching.join()
    assert not worker.is_overdue


def test_every_http_error_can_be_named_and_made_again() -> None:
    there = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind for kind in there if issubclass(kind, errors.HttpError)}
    assert set(errors.http_errors().values()) >= ours  # no two have one name
    assert errors.ModelUnavailable in ours  # a subclass of a subclass


# --- the embedded model's workers, in a pool ---------------------------------------------------


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
    processes = [psutil.Process(worker.pid) for worker in workers(pool)]
    used_s = [process.cpu_times().user for process in processes]
    with ThreadPoolExecutor(8) as callers:
        asked = partial(pool.classify, MODEL, options=OPTIONS)
        answers = list(callers.map(asked, [CAT, COFFEE] * 20))
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
    assert len(processes) == 2
    for process, before_s in zip(processes, used_s, strict=True):
        assert process.cpu_times().user > before_s


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


def test_a_stopped_worker_is_replaced_in_time_and_loses_only_its_own_picture(start: Start) -> None:
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


@pytest.mark.parametrize(
    ("kind", "side", "encoding"),
    [("hungry", 1, "PNG"), ("tight", 6000, "WEBP"), ("tight", 6000, "PNG")],
)
def test_a_worker_that_would_take_too_much_memory_is_replaced_and_its_picture_told(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: str, side: int, encoding: str
) -> None:
    monkeypatch.setenv("ODD_WORKER", kind)
    monkeypatch.setitem(worker_module.PROGRAMS, "openvino", "tests.services.odd_worker")
    pool = start()
    pid = workers(pool)[0].pid
    assert pool.classify(MODEL, CAT, OPTIONS).predictions
    with pytest.raises(WorkerLost, match="needs more memory than a worker may use"):
        pool.classify(MODEL, pictures.saved(Image.new("RGBA", (side, side)), encoding), OPTIONS)
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: workers(pool))
    assert pool.classify(MODEL, CAT, OPTIONS).predictions


def test_the_largest_picture_that_is_allowed_fits_into_the_memory_of_a_worker(start: Start) -> None:
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
