"""A worker and the backend's side of it, without processes: the program runs in a thread."""

import logging
import logging.config
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from imgserve import errors
from imgserve.contract import Prediction, PredictOptions
from imgserve.log import logging_config
from imgserve.models import worker as worker_module
from imgserve.models import worker_process
from imgserve.models.classifier import LIMIT_S
from imgserve.models.worker import Result, Worker
from imgserve.models.worker_process import BYTES_A_PIXEL, BYTES_A_SLOT, KEPT_BYTES
from imgserve.settings import BackendSettings
from tests.unit.pool_stand_in import Gate
from tests.unit.waiting import wait_until

CAT = Result(
    [Prediction("cat", 281, 0.75), Prediction("größer", 1, 0.25)],
    decode_ms=1.5,
    preprocess_ms=0.25,
    inference_ms=9.0,
    thumbnail="data:image/jpeg;base64,/9j/",
    incomplete=True,
    precision="int8",
    explanation=[[0.5, 1.0]],
)
OPTIONS = PredictOptions(top_k=2, thumbnail=True)
LIMIT_PIXELS = 1000
Answer = Callable[[bytes, PredictOptions], Result]


class ModelStandIn:
    """A model that answers what its test says."""

    precision = "bf16"
    categories = ("cat", "dog")

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def classify(self, data: bytes, options: PredictOptions, **limits: float) -> Result:
        self.limits = limits
        return self.answer(data, options)


class ProcessStandIn:
    """Instead of a process: the program in a thread, with ends of the sockets of its own."""

    def __init__(
        self, load: Callable[..., Any], command: list[str], *, pass_fds: list[int], **how: Any
    ) -> None:
        assert command[3:] == [str(number) for number in pass_fds]
        self.command, self.how, self.pid, self.status = command, how, 1, -9
        self.sockets = [socket.socket(fileno=os.dup(number)) for number in pass_fds]
        sys.argv = ["worker", *(str(os.dup(number)) for number in pass_fds)]
        self.thread = threading.Thread(target=self._run, args=(load,))
        self.thread.start()

    def _run(self, load: Callable[..., Any]) -> None:
        self.status = worker_process.main(load)

    def wait(self, timeout_s: float | None = None) -> int:
        self.thread.join(timeout_s)
        return self.status

    def kill(self) -> None:
        for end in self.sockets:
            with suppress(OSError):  # the other end is closed already
                end.shutdown(socket.SHUT_RDWR)

    terminate = kill


Start = Callable[..., Worker]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts a worker whose process is a thread."""
    processes: list[ProcessStandIn] = []
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)
    # They would be this process's.
    for name in "_silence_libraries", "_be_first_to_go", "limit_growth", "give_back_large_blocks":
        monkeypatch.setattr(worker_process, name, lambda *_, **__: None)

    def start(
        answer: Answer = lambda *_: CAT,
        *,
        slots: int = 1,
        load: Callable[..., Any] | None = None,
        **more: Any,
    ) -> Worker:
        def popen(*args: Any, **how: Any) -> ProcessStandIn:
            processes.append(
                ProcessStandIn(load or (lambda *_: ModelStandIn(answer)), *args, **how)
            )
            return processes[-1]

        monkeypatch.setattr(subprocess, "Popen", popen)
        settings = BackendSettings(max_image_pixels=LIMIT_PIXELS, **more)
        return Worker(settings, "small", slots=slots)

    yield start
    for process in processes:
        process.kill()
        process.thread.join(10)
        for end in process.sockets:
            end.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that is open when the test has ended."""
    made = Gate()
    yield made
    made.opened.set()


def classify(worker: Worker, data: bytes = b"picture", slot: int = 0) -> Result:
    return worker.slots[slot].classify(data, OPTIONS)


@pytest.mark.parametrize(("timeout_s", "explain_s"), [(30.0, LIMIT_S), (6.0, 2.0)])
def test_the_picture_the_options_and_the_limits_are_handed_on(
    start: Start, timeout_s: float, explain_s: float
) -> None:
    given: list[tuple[bytes, Any, bool, bool]] = []

    def answer(data: bytes, options: PredictOptions) -> Result:
        given.append((data, options.top_k, options.thumbnail, options.explain))
        return CAT

    model = ModelStandIn(answer)
    worker = start(load=lambda *_: model, predict_timeout_s=timeout_s)
    assert [classify(worker), classify(worker, b"")] == [CAT, CAT]
    assert model.limits == {"limit_pixels": LIMIT_PIXELS, "explain_s": explain_s}
    assert given == [(b"picture", 2, True, False), (b"", 2, True, False)]
    assert (worker.precision, worker.classes, worker.has_exited) == ("bf16", 2, False)


@pytest.mark.parametrize("engine", worker_module.PROGRAMS)
def test_a_worker_runs_its_engine_reads_no_terminal_and_is_not_interrupted(
    start: Start, engine: str
) -> None:
    process: Any = start(engine=engine)._process
    assert process.command[:3] == [sys.executable, "-m", worker_module.PROGRAMS[engine]]
    assert process.how == {"stdin": subprocess.DEVNULL, "process_group": 0}


def test_the_program_loads_logs_and_takes_memory_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    told: list[Any] = []

    def load(settings: BackendSettings, model_id: str) -> ModelStandIn:
        told.extend((settings, model_id))
        return ModelStandIn(lambda *_: CAT)

    def give_back_large_blocks(*sizes: int, heaps: int) -> None:
        told.append((*sizes, heaps))

    monkeypatch.setattr(worker_process, "give_back_large_blocks", give_back_large_blocks)
    monkeypatch.setattr(logging.config, "dictConfig", told.append)
    monkeypatch.setattr(worker_process, "limit_growth", told.append)
    worker = start(load=load, slots=2, log_level="DEBUG")
    settings = BackendSettings(log_level="DEBUG", max_image_pixels=LIMIT_PIXELS)
    growth_bytes = 2 * (BYTES_A_SLOT + LIMIT_PIXELS * BYTES_A_PIXEL)
    heap = (KEPT_BYTES, KEPT_BYTES, 1)
    assert told == [heap, logging_config("DEBUG"), settings, "small", growth_bytes]
    worker.end()
    assert worker._process.wait() == 0


@pytest.mark.parametrize(
    ("error", "raised", "said", "logged"),
    [
        *(
            (kind("use another picture"), kind, "^use another picture$", "")
            for kind in (errors.DamagedPicture, errors.TooManyPixels, errors.UnsupportedFormat)
        ),
        (ZeroDivisionError("no rows"), RuntimeError, "an entry above says why", "no rows"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_as_the_error_it_is_and_the_next_computed(
    start: Start,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    raised: type[Exception],
    said: str,
    logged: str,
) -> None:
    def answer(data: bytes, _: PredictOptions) -> Result:
        if data == b"bad":
            raise error
        return CAT

    worker = start(answer)
    with pytest.raises(raised, match=said):
        classify(worker, b"bad")
    assert classify(worker) == CAT
    assert logged in caplog.text
    assert len(caplog.records) == bool(logged)


def test_several_slots_are_computed_at_once(start: Start) -> None:
    together = threading.Barrier(3)  # breaks unless all three come
    worker = start(lambda *_: together.wait(10) < 3 and CAT, slots=3)
    with ThreadPoolExecutor(3) as callers:
        assert list(callers.map(classify, [worker] * 3, [b""] * 3, range(3))) == [CAT] * 3


# --- workers that fail ---------------------------------------------------------------------------


def test_what_a_worker_says_of_a_model_it_cannot_load_is_what_is_raised(start: Start) -> None:
    def load(*_: object) -> ModelStandIn:
        raise errors.ModelError("no weights: try again")

    with pytest.raises(errors.ModelError, match=r"^no weights: try again$"):
        start(load=load)


def test_a_worker_that_ends_while_it_loads_is_told_with_its_status(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(_: object) -> int:
        for number in sys.argv[1:]:
            with socket.socket(fileno=int(number)) as end:
                end.shutdown(socket.SHUT_RDWR)
        return 3

    monkeypatch.setattr(worker_process, "main", main)
    with pytest.raises(errors.ModelError, match="loaded small ended with status 3: the log says"):
        start()


def test_a_worker_that_never_says_that_it_is_ready_is_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr(worker_module, "START_TIMEOUT_S", 0.05)
    ended: list[bool] = []
    monkeypatch.setattr(Worker, "end", lambda _: ended.append(True))
    with pytest.raises(errors.ModelError, match="loading small took more than"):
        start(load=lambda *_: gate.pass_through() or ModelStandIn(lambda *_: CAT))
    assert ended == [True]


def in_thread(function: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_a_worker_within_its_time_is_left_alone_also_after_many_pictures(start: Start) -> None:
    worker = start(predict_timeout_s=0.5)
    watching = in_thread(worker.wait_until_exit)
    assert {classify(worker).predictions[0].category for _ in range(3000)} == {"cat"}
    assert watching.is_alive()
    assert not worker.is_overdue


def test_a_worker_that_ends_while_it_computes_loses_that_picture(start: Start, gate: Gate) -> None:
    worker = start(lambda *_: gate.pass_through() or CAT)
    in_thread(lambda: gate.came.wait(10) and worker._process.kill())
    with pytest.raises(errors.WorkerLost, match="ended and is replaced: send the picture again"):
        classify(worker)
    assert worker.has_exited


def test_a_worker_that_had_ended_before_loses_no_picture(start: Start) -> None:
    worker = start()
    worker.end()
    with pytest.raises(worker_module.WorkerExited):
        classify(worker)
    assert worker.has_exited


def test_a_worker_that_is_at_its_pictures_for_long_is_stuck(
    start: Start, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr(worker_module, "STUCK_S", 0.1)
    worker = start(lambda *_: gate.pass_through() or CAT, slots=2, predict_timeout_s=1.0)
    watching = in_thread(worker.wait_until_exit)
    first = in_thread(classify, worker, b"", 0)
    wait_until(lambda: worker.slots[0].elapsed_s > 0.2)
    assert not worker.is_stuck()  # the other slot is free
    second = in_thread(classify, worker, b"", 1)
    wait_until(worker.is_stuck)
    gate.opened.set()
    first.join(10)
    second.join(10)
    assert not worker.is_stuck()
    assert watching.is_alive()


def test_every_http_error_can_be_named_and_made_again() -> None:
    there = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind for kind in there if issubclass(kind, errors.HttpError)}
    assert set(errors.http_errors().values()) >= ours  # no two have one name
    assert errors.ModelUnavailable in ours  # a subclass of a subclass
