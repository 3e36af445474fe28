"""Models come and go, and no request ever gets another one's model; workers are stand-ins."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import Busy, ModelError, ModelUnavailable, NotReady, UnknownModel, WorkerLost
from imgserve.models import pool as pool_module
from imgserve.models import worker as worker_module
from imgserve.models.pool import SMALL_WEIGHTS_BYTES, WorkerPool
from imgserve.models.worker import Result, WorkerExited
from imgserve.settings import BackendSettings
from tests.unit.pool_stand_in import Gate
from tests.unit.waiting import wait_until

IDS = ("a", "b", "c")
SIZE = 10
WEIGHTS = SIZE - pool_module.PROCESS_BYTES  # so that a model is expected to take what it takes
SLOW = b"slow"  # a picture that is computed only once the workers' gate is open


@dataclass(eq=False)
class WorkerStandIn:
    """A worker and its slots: answers with its model's name, ends when it is ended or told to."""

    settings: BackendSettings
    model: str
    number: int
    pid: int
    slots: list["WorkerStandIn"] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    over: threading.Event = field(default_factory=threading.Event)
    has_exited: bool = False
    is_stuck: Callable[[], bool] = lambda: False
    precision: str = "fp32"
    classes: int = 3
    is_gone: bool = False  # ended, and nobody knows yet

    @property
    def worker(self) -> "WorkerStandIn":
        return self

    def classify(self, data: bytes, _: PredictOptions) -> Result:
        if self.is_gone:
            self.has_exited = True
            raise WorkerExited
        self.asked.append(data)
        if data == SLOW:
            self.gate.pass_through()
        if self.has_exited:
            raise WorkerLost("lost")
        return Result([Prediction(self.model, 0, 1.0)], 0.0, 0.0, 0.0)

    def wait_until_exit(self) -> int:
        assert self.over.wait(30)
        return -9

    def end(self) -> None:
        self.over.set()


@dataclass
class Workshop:
    """Makes workers, remembers them and says what they weigh; and asks the pool they are in."""

    callers: ThreadPoolExecutor
    patch: pytest.MonkeyPatch
    log: pytest.LogCaptureFixture
    weights_bytes: int = WEIGHTS
    workers: list[WorkerStandIn] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)
    at_once: int = 0
    slow_to_prepare: str = ""
    pool: WorkerPool = field(init=False)

    def start(
        self, settings: BackendSettings, model_id: str, *, number: int, slots: int
    ) -> WorkerStandIn:
        worker = WorkerStandIn(settings, model_id, number, pid=len(self.workers))
        worker.slots = [worker] * slots
        self.workers.append(worker)
        self.at_once += number == 0
        assert self.at_once <= 1, "two models are loaded at once"
        assert self.may_load.wait(10)
        time.sleep(0.001)  # so that others could come
        self.at_once -= number == 0
        if self.errors:
            raise self.errors.pop(0)
        return worker

    def prepare(self, _: BackendSettings, model_id: str) -> int:
        if model_id == self.slow_to_prepare:
            assert self.may_load.wait(10)
        return self.weights_bytes

    def open(self, limit_bytes: int | None = None, **settings: Any) -> WorkerPool:
        given = BackendSettings(**{"threads": 1, "load_wait_s": 10, **settings})
        self.pool = WorkerPool(given, IDS, limit_bytes=limit_bytes)
        return self.pool

    def loaded(self) -> str:
        return "".join(worker.model for worker in self.workers if worker.number == 0)

    def ready(self) -> str:
        return "".join(name for name in IDS if self.pool.state(name)[0] == "ready")

    def ask(self, model_id: str, data: bytes = b"") -> str:
        """Return which model answered."""
        return self.pool.classify(model_id, data, PredictOptions()).predictions[0].category

    def later(self, model_id: str, data: bytes = b"") -> "Future[str]":
        return self.callers.submit(self.ask, model_id, data)

    def use(self, model_ids: str) -> None:
        for model_id in model_ids:
            assert self.ask(model_id) == model_id

    @contextmanager
    def in_use(self, model_id: str) -> Iterator[WorkerStandIn]:
        """Have a picture computed meanwhile, by the worker that is returned."""
        self.use(model_id)
        (worker,) = [w for w in self.workers if w.model == model_id and not w.over.is_set()]
        answer = self.later(model_id, SLOW)
        assert worker.gate.came.wait(10)
        yield worker
        worker.gate.opened.set()
        assert answer.result(10) == model_id

    def two_workers(self) -> list[WorkerStandIn]:
        """Open a pool whose model has two workers; return them."""
        self.open(threads=2)
        wait_until(lambda: len(self.pool._models["a"].workers) == 2)
        return self.workers

    def waiting(self) -> int:
        return len(self.pool._waiting)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Workshop]:
    """Let a pool start stand-ins; end them and the threads that watch them."""
    before = set(threading.enumerate())
    with ThreadPoolExecutor(16) as callers:
        made = Workshop(callers, monkeypatch, caplog)
        made.may_load.set()
        monkeypatch.setattr(pool_module, "Worker", made.start)
        monkeypatch.setattr(pool_module, "prepare", made.prepare)
        monkeypatch.setattr(worker_module, "process_bytes", lambda _: SIZE)
        monkeypatch.setattr(pool_module, "RESTART_PAUSE_S", 0.0)
        yield made
        made.may_load.set()
        for worker in made.workers:
            worker.gate.opened.set()
    made.pool.close()
    wait_until(lambda: set(threading.enumerate()) <= before)


# --- which models are loaded -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "weights", "used", "loaded", "ready"),
    [
        pytest.param(3 * SIZE, WEIGHTS, "abcabc", "abc", "abc", id="all fit"),
        pytest.param(3 * SIZE - 1, WEIGHTS, "abac", "abc", "ac", id="the least recently used"),
        pytest.param(3 * SIZE - 1, WEIGHTS, "abacb", "abcb", "bc", id="and the next one"),
        pytest.param(2 * SIZE - 1, WEIGHTS - SIZE, "ab", "ab", "b", id="more than was expected"),
        pytest.param(5, WEIGHTS, "ab", "ab", "b", id="one is larger than the limit"),
    ],
)
def test_models_are_loaded_on_first_use_and_leave_when_another_needs_their_memory(
    shop: Workshop, limit: int, weights: int, used: str, loaded: str, ready: str
) -> None:
    shop.weights_bytes = weights
    shop.open(limit)
    wait_until(lambda: shop.ready() == "a")  # the default
    shop.use(used)
    wait_until(lambda: shop.ready() == ready)
    assert shop.loaded() == loaded
    assert ("model b alone takes more than MODEL_MEMORY_MB" in shop.log.text) == (limit < SIZE)


def test_an_idle_model_leaves_before_one_in_use(shop: Workshop) -> None:
    shop.open(2 * SIZE, threads=2, copies=1)
    with shop.in_use("a"):
        shop.use("bc")
        assert shop.ready() == "ac"


def test_a_model_in_use_is_not_closed_and_others_are_told_to_come_again(shop: Workshop) -> None:
    shop.patch.setattr(pool_module, "ROOM_WAIT_S", 0.05)
    pool = shop.open(SIZE, threads=2, copies=1)
    with shop.in_use("a") as worker:
        with pytest.raises(NotReady, match="memory is taken"):
            shop.ask("b")
        assert pool.state("a")[0] == "absent"  # a new request would load it anew
        assert not worker.over.is_set()
    wait_until(worker.over.is_set)
    shop.use("b")


def test_a_model_that_took_more_than_expected_is_served_while_others_leave(shop: Workshop) -> None:
    shop.log.set_level(logging.INFO)
    shop.patch.setattr(pool_module, "ROOM_WAIT_S", 0.05)
    shop.weights_bytes = WEIGHTS - SIZE
    shop.open(SIZE, threads=2, copies=1)
    with shop.in_use("a"):
        shop.use("b")
        wait_until(lambda: "model b loaded" in shop.log.text, 5)
        shop.use("b")
    assert shop.loaded() == "ab"


def test_a_model_that_must_be_downloaded_first_keeps_no_other_waiting(shop: Workshop) -> None:
    shop.slow_to_prepare = "b"
    pool = shop.open(3 * SIZE)
    shop.use("a")
    shop.may_load.clear()
    pool.warm("b")
    shop.slow_to_prepare = ""
    shop.may_load.set()
    shop.use("cb")


@pytest.mark.parametrize("limit_bytes", [SIZE, 2 * SIZE, 3 * SIZE])
def test_every_caller_gets_the_model_it_asked_for_whatever_comes_and_goes(
    shop: Workshop, limit_bytes: int
) -> None:
    pool = shop.open(limit_bytes, threads=3, copies=1)

    def caller(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(30):
            if order.random() < 0.2:
                pool.warm(order.choice(IDS))
            shop.use(order.choice(IDS))

    for done in [shop.callers.submit(caller, seed) for seed in range(8)]:
        done.result(60)
    wait_until(lambda: not pool._leaving)
    wait_until(lambda: len(shop.ready()) * SIZE <= limit_bytes)


# --- models that cannot be loaded --------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason", "has_traceback"),
    [
        (ModelError("no weights"), "no weights", False),
        (OSError("/a/path"), "the log says why", True),
    ],
)
def test_a_failed_model_says_why_but_not_what_only_the_log_may_and_is_tried_again_later(
    shop: Workshop, error: Exception, reason: str, has_traceback: bool
) -> None:
    shop.errors = [error]
    pool = shop.open(3 * SIZE)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match=f"could not be loaded: {reason}") as caught:
            shop.ask("a")
        assert caught.value.retry_after_s == 60
    assert shop.loaded() == "a"
    assert pool.state("a")[:2] == ("absent", reason)
    with pytest.raises(ModelUnavailable, match=reason):
        pool.ready_id()
    (entry,) = [record for record in shop.log.records if record.levelno >= logging.ERROR]
    assert bool(entry.exc_info) == has_traceback
    assert str(error) in shop.log.text
    shop.use("c")
    assert pool.ready_id() == "c"
    later_s = time.monotonic() + pool_module.RETRY_S
    shop.patch.setattr(pool_module.time, "monotonic", lambda: later_s)
    shop.use("a")
    assert pool.state("a")[:2] == ("ready", None)


def test_who_waits_too_long_is_told_to_come_again_and_finds_it_loaded(shop: Workshop) -> None:
    shop.may_load.clear()
    pool = shop.open(3 * SIZE, load_wait_s=0.01)
    with pytest.raises(NotReady, match="model a is still loading: try again") as caught:
        shop.ask("a")
    assert (type(caught.value), caught.value.retry_after_s) == (NotReady, 2)
    assert pool.state("a")[:2] == ("loading", None)
    with pytest.raises(NotReady, match="still loading"):
        pool.ready_id()
    shop.may_load.set()
    wait_until(shop.ready)
    shop.use("a")
    assert shop.loaded() == "a"


def test_an_unknown_model_is_refused_with_the_list(shop: Workshop) -> None:
    pool = shop.open()
    for call in (pool.state, pool.warm, pool.require, shop.ask):
        with pytest.raises(UnknownModel, match=r"'x'.*a, b, c"):
            call("x")


# --- workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "given", "threads", "slots"),
    [
        (SMALL_WEIGHTS_BYTES, {"threads": 3}, [3, 1, 1], 1),
        (SMALL_WEIGHTS_BYTES + 1, {"threads": 3}, [3], 3),
        (1, {"threads": 3, "engine": "torch"}, [3], 3),
        (1, {"threads": 5, "copies": 2}, [5, 2], 3),
    ],
)
def test_a_small_model_has_a_worker_for_each_thread_the_first_of_which_has_all_threads(
    shop: Workshop, weights: int, given: dict[str, Any], threads: list[int], slots: int
) -> None:
    shop.weights_bytes = weights
    shop.open(**given)
    wait_until(lambda: len(shop.workers) == len(threads))
    assert [worker.settings.threads for worker in shop.workers] == threads
    assert {len(worker.slots) for worker in shop.workers} == {slots}


@pytest.mark.parametrize(("limit", "count"), [(3 * SIZE, 3), (3 * SIZE - 1, 2), (SIZE, 1)])
def test_further_workers_are_started_while_they_fit(shop: Workshop, limit: int, count: int) -> None:
    pool = shop.open(limit, threads=3)
    shop.use("a")
    wait_until(lambda: len(pool._models["a"].workers) == count)


def test_only_the_picture_of_a_worker_that_ends_is_lost_and_another_follows(shop: Workshop) -> None:
    first, second = shop.two_workers()
    lost = shop.later("a", SLOW)
    assert first.gate.came.wait(10)
    shop.use("aa")
    first.over.set()
    wait_until(lambda: first.has_exited)
    first.gate.opened.set()
    with pytest.raises(WorkerLost):
        lost.result(10)
    wait_until(lambda: len(shop.workers) == 3)
    shop.use("aa")
    assert first.asked == [SLOW]
    assert len(second.asked) >= 2
    assert "a worker of model a ended with status -9" in shop.log.text


def test_a_picture_that_a_worker_was_not_even_given_goes_to_another(shop: Workshop) -> None:
    first, second = shop.two_workers()
    first.is_gone = True
    shop.use("aa")
    assert (first.asked, len(second.asked)) == ([], 2)


def test_without_a_worker_a_model_loads_again_and_who_waits_is_answered(shop: Workshop) -> None:
    pool = shop.open()
    shop.use("a")
    shop.may_load.clear()
    shop.workers[0].over.set()
    wait_until(lambda: pool.state("a")[0] == "loading")
    with pytest.raises(NotReady, match="being loaded again"):
        pool.ready_id()
    waiting = shop.later("a")
    shop.may_load.set()
    assert waiting.result(10) == "a"
    assert pool.ready_id() == "a"


def test_a_model_whose_workers_are_all_stuck_is_not_ready(shop: Workshop) -> None:
    first, second = shop.two_workers()
    first.is_stuck = lambda: True
    assert shop.pool.ready_id() == "a"
    second.is_stuck = lambda: True
    with pytest.raises(NotReady):
        shop.pool.ready_id()


def test_a_worker_that_cannot_be_started_again_is_logged_and_tried_again(shop: Workshop) -> None:
    shop.open()
    shop.use("a")
    shop.errors = [ModelError("no memory"), OSError("no process")]
    shop.workers[0].over.set()
    wait_until(lambda: len(shop.workers) == 4)
    wait_until(shop.ready)
    said = "a worker of model a could not be started"
    _, *errors = [entry for entry in shop.log.records if entry.levelno >= logging.ERROR]
    assert [(entry.getMessage(), bool(entry.exc_info)) for entry in errors] == [
        (f"{said}: no memory", False),
        (f"{said}: no process", True),
    ]


def test_a_worker_that_was_loading_when_its_pool_closed_ends_as_well(shop: Workshop) -> None:
    pool = shop.open(threads=2)
    wait_until(shop.ready)
    shop.may_load.clear()
    shop.workers[0].over.set()
    wait_until(lambda: len(shop.workers) == 3)
    pool.close()
    shop.may_load.set()
    wait_until(shop.workers[-1].over.is_set)
    assert len(shop.workers) == 3


# --- the queue ---------------------------------------------------------------------------------


def test_who_waited_longest_is_next(shop: Workshop) -> None:
    shop.open()
    with shop.in_use("a") as worker:
        waiting = []
        for number in range(5):
            waiting.append(shop.later("a", b"%d" % number))
            wait_until(lambda: shop.waiting() == number + 1)  # noqa: B023  it is called at once
    assert [future.result(10) for future in waiting] == ["a"] * 5
    assert worker.asked[1:] == [SLOW, b"0", b"1", b"2", b"3", b"4"]


def test_no_more_pictures_than_threads_are_computed_at_once_of_all_models(shop: Workshop) -> None:
    pool = shop.open(threads=2, copies=1)
    with shop.in_use("a"), shop.in_use("b"):
        third = shop.later("c")
        wait_until(lambda: shop.ready() == "abc")
        assert (pool.computing, shop.waiting(), third.done()) == (2, 1, False)
    assert third.result(10) == "c"
    assert pool.computing == 0


def test_who_waits_for_a_loading_model_does_not_hold_up_those_behind(shop: Workshop) -> None:
    shop.open(load_wait_s=0.2)
    shop.use("a")
    shop.may_load.clear()
    waiting = shop.later("b")
    wait_until(lambda: shop.waiting() == 1)
    shop.use("a")
    with pytest.raises(NotReady):
        waiting.result(10)
    assert shop.waiting() == 0


def test_a_request_that_no_worker_takes_in_time_is_told_to_come_again(shop: Workshop) -> None:
    shop.open(load_wait_s=0.01, predict_timeout_s=0.05)
    with shop.in_use("a"), pytest.raises(Busy, match="no worker was free in time"):
        shop.ask("a")
    shop.use("a")
