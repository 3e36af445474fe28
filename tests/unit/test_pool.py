"""Models come and go, and no request ever gets another one's model; workers are stand-ins."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import (
    Busy,
    ModelError,
    ModelUnavailable,
    NotReady,
    UnknownModel,
    WorkerLost,
)
from imgserve.models import model as model_module
from imgserve.models import pool as pool_module
from imgserve.models.pool import SMALL_WEIGHTS_BYTES, WorkerPool
from imgserve.models.worker import Result, WorkerExited
from imgserve.settings import BackendSettings
from tests.unit.pool_stand_in import Gate
from tests.unit.waiting import wait_until

IDS = ("a", "b", "c")
OPTIONS = PredictOptions()
SIZE = 10
WEIGHTS = SIZE - pool_module.PROCESS_BYTES  # so that a model is expected to take what it takes
SLOW = b"slow"  # a picture that is computed only once the workers' gate is open


class SlotStandIn:
    """A slot that answers with its model's name."""

    def __init__(self, worker: "WorkerStandIn") -> None:
        self.worker = worker

    def classify(self, data: bytes, _: PredictOptions) -> Result:
        if self.worker.is_gone:
            self.worker.has_exited = True
            raise WorkerExited
        self.worker.asked.append(data)
        if data == SLOW:
            self.worker.gate.pass_through()
        if self.worker.has_exited:
            raise WorkerLost("lost")
        return Result([Prediction(self.worker.model, 0, 1.0)], 0.0, 0.0, 0.0)


@dataclass(eq=False)
class WorkerStandIn:
    """A worker that loads when it may, and ends when it is ended or told to."""

    workshop: "Workshop"
    settings: BackendSettings
    model: str
    number: int
    pid: int
    slots: list[SlotStandIn] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    over: threading.Event = field(default_factory=threading.Event)
    has_exited: bool = False
    stuck: bool = False
    precision: str = "fp32"
    is_gone: bool = False  # ended, and nobody knows yet

    def wait_until_ready(self) -> None:
        self.workshop.at_once += self.number == 0
        assert self.workshop.at_once <= 1, "two models are loaded at once"
        assert self.workshop.may_load.wait(10)
        self.workshop.at_once -= self.number == 0
        if self.workshop.errors:
            raise self.workshop.errors.pop(0)

    def wait_until_exit(self) -> int:
        assert self.over.wait(30)
        return -9

    def is_stuck(self) -> bool:
        return self.stuck

    def end(self) -> None:
        self.over.set()


@dataclass
class Workshop:
    """Makes workers, remembers them and says what they weigh."""

    size_bytes: int = SIZE
    weights_bytes: int = WEIGHTS
    workers: list[WorkerStandIn] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)
    at_once: int = 0
    slow_to_prepare: str = ""
    pools: list[WorkerPool] = field(default_factory=list)

    def start(
        self, settings: BackendSettings, model_id: str, *, number: int, slots: int
    ) -> WorkerStandIn:
        worker = WorkerStandIn(self, settings, model_id, number, pid=len(self.workers))
        worker.slots = [SlotStandIn(worker) for _ in range(slots)]
        self.workers.append(worker)
        return worker

    def prepare(self, _: BackendSettings, model_id: str) -> int:
        if model_id == self.slow_to_prepare:
            assert self.may_load.wait(10)
        return self.weights_bytes

    def pool(self, limit_bytes: int | None = None, **settings: Any) -> WorkerPool:
        given = BackendSettings(**{"threads": 1, "load_wait_s": 10, **settings})
        self.pools.append(WorkerPool(given, IDS, limit_bytes=limit_bytes))
        return self.pools[-1]

    def loaded(self) -> list[str]:
        return [worker.model for worker in self.workers if worker.number == 0]


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """Let pools start stand-ins; end them and the threads that watch them."""
    made = Workshop()
    made.may_load.set()
    before = set(threading.enumerate())
    monkeypatch.setattr(pool_module, "Worker", made.start)
    monkeypatch.setattr(pool_module, "prepare", made.prepare)
    monkeypatch.setattr(model_module, "process_bytes", lambda _: made.size_bytes)
    monkeypatch.setattr(pool_module, "RESTART_PAUSE_S", 0.0)
    yield made
    made.may_load.set()
    for worker in made.workers:
        worker.gate.opened.set()
    for pool in made.pools:
        pool.close()
    wait_until(lambda: set(threading.enumerate()) <= before)


def ready(pool: WorkerPool) -> list[str]:
    return [model_id for model_id in IDS if pool.state(model_id)[0] == "ready"]


def ask(pool: WorkerPool, model_id: str, data: bytes = b"") -> str:
    """Return which model answered."""
    return pool.classify(model_id, data, OPTIONS).predictions[0].category


def use(pool: WorkerPool, *model_ids: str) -> None:
    for model_id in model_ids:
        assert ask(pool, model_id) == model_id


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def in_use(workshop: Workshop, pool: WorkerPool, model_id: str, callers: ThreadPoolExecutor) -> Any:
    """Have a picture computed until its worker's gate opens; return its worker and its answer."""
    use(pool, model_id)
    (worker,) = [w for w in workshop.workers if w.model == model_id and not w.over.is_set()]
    answer: Future[str] = callers.submit(ask, pool, model_id, SLOW)
    assert worker.gate.came.wait(10)
    return worker, answer


# --- which models are loaded -----------------------------------------------------------------


def test_the_default_is_loaded_at_once_and_others_on_first_use(workshop: Workshop) -> None:
    pool = workshop.pool(limit_bytes=3 * SIZE)
    wait_until(lambda: ready(pool) == ["a"])
    use(pool, "a", "b", "c", "a", "b", "c")
    assert workshop.loaded() == ["a", "b", "c"]
    assert ready(pool) == ["a", "b", "c"]


def test_the_least_recently_used_leaves_first(workshop: Workshop) -> None:
    pool = workshop.pool(limit_bytes=3 * SIZE - 1)
    use(pool, "a", "b", "a", "c")
    assert ready(pool) == ["a", "c"]
    use(pool, "b")
    assert ready(pool) == ["b", "c"]


def test_what_a_model_really_takes_counts_once_it_is_loaded(workshop: Workshop) -> None:
    workshop.weights_bytes = -pool_module.PROCESS_BYTES  # it promises to take nothing
    pool = workshop.pool(limit_bytes=2 * SIZE - 1)
    use(pool, "a", "b")
    wait_until(lambda: ready(pool) == ["b"])


def test_a_model_larger_than_the_limit_is_served_alone(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    pool = workshop.pool(limit_bytes=5)
    use(pool, "a", "b")
    assert ready(pool) == ["b"]
    assert "model b alone takes more than MODEL_MEMORY_MB" in caplog.text


def test_many_who_ask_at_once_cause_one_load(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    workshop.may_load.clear()
    pool = workshop.pool(3 * SIZE)
    answers = [callers.submit(ask, pool, "a") for _ in range(16)]
    workshop.may_load.set()
    assert {answer.result(10) for answer in answers} == {"a"}
    assert workshop.loaded() == ["a"]


def test_a_model_in_use_is_not_closed_before_its_picture_is_answered(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool(SIZE, threads=2, copies=1)
    worker, answer = in_use(workshop, pool, "a", callers)
    other = callers.submit(ask, pool, "b")
    wait_until(lambda: pool.state("a")[0] == "absent")  # a new request would load it anew
    assert pool.state("b")[0] == "loading"
    assert not worker.over.is_set()
    worker.gate.opened.set()
    assert answer.result(10) == "a"
    assert other.result(10) == "b"
    assert worker.over.is_set()


def test_an_idle_model_leaves_before_one_in_use(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool(2 * SIZE, threads=2, copies=1)
    worker, answer = in_use(workshop, pool, "a", callers)
    use(pool, "b", "c")
    assert ready(pool) == ["a", "c"]
    worker.gate.opened.set()
    assert answer.result(10) == "a"


def test_while_models_in_use_hold_the_memory_others_are_told_to_come_again(
    workshop: Workshop, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "ROOM_WAIT_S", 0.05)
    pool = workshop.pool(SIZE, threads=2, copies=1)
    worker, answer = in_use(workshop, pool, "a", callers)
    with pytest.raises(NotReady, match="memory is taken"):
        ask(pool, "b")
    worker.gate.opened.set()
    assert answer.result(10) == "a"
    wait_until(worker.over.is_set)
    use(pool, "b")


def test_a_model_that_must_be_downloaded_first_keeps_no_other_waiting(workshop: Workshop) -> None:
    workshop.slow_to_prepare = "b"
    pool = workshop.pool(3 * SIZE)
    use(pool, "a")
    workshop.may_load.clear()
    pool.warm("b")
    workshop.slow_to_prepare = ""
    workshop.may_load.set()
    use(pool, "c", "b")


@pytest.mark.parametrize("limit_bytes", [SIZE, 2 * SIZE, 3 * SIZE])
def test_every_caller_gets_the_model_it_asked_for_whatever_comes_and_goes(
    workshop: Workshop, limit_bytes: int, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool(limit_bytes, threads=3, copies=1)

    def caller(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(30):
            if order.random() < 0.2:
                pool.warm(order.choice(IDS))
            use(pool, order.choice(IDS))

    for done in [callers.submit(caller, seed) for seed in range(8)]:
        done.result(60)
    wait_until(lambda: not pool._leaving)
    wait_until(lambda: len(ready(pool)) * SIZE <= limit_bytes)


# --- models that cannot be loaded --------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason", "has_traceback"),
    [
        (ModelError("no weights"), "no weights", False),
        (OSError("/a/path"), "the log says why", True),
    ],
)
def test_a_failed_model_says_why_but_not_what_only_the_log_may_and_is_tried_again_later(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: str,
    has_traceback: bool,
) -> None:
    workshop.errors = [error]
    pool = workshop.pool(3 * SIZE)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match=f"could not be loaded: {reason}") as caught:
            ask(pool, "a")
        assert caught.value.retry_after_s == 60
    assert workshop.loaded() == ["a"]
    assert pool.state("a")[:2] == ("absent", reason)
    with pytest.raises(ModelUnavailable, match=reason):
        pool.ready_id()
    (entry,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(entry.exc_info) == has_traceback
    assert str(error) in caplog.text
    use(pool, "c")
    assert pool.ready_id() == "c"
    later_s = time.monotonic() + pool_module.RETRY_S
    monkeypatch.setattr(pool_module.time, "monotonic", lambda: later_s)
    use(pool, "a")
    assert pool.state("a")[:2] == ("ready", None)


def test_those_who_wait_too_long_are_told_to_come_again_and_find_it_loaded(
    workshop: Workshop,
) -> None:
    workshop.may_load.clear()
    pool = workshop.pool(3 * SIZE, load_wait_s=0.01)
    with pytest.raises(NotReady, match="model a is still loading: try again") as caught:
        ask(pool, "a")
    assert (type(caught.value), caught.value.retry_after_s) == (NotReady, 2)
    assert pool.state("a")[:2] == ("loading", None)
    with pytest.raises(NotReady, match="still loading"):
        pool.ready_id()
    workshop.may_load.set()
    wait_until(lambda: ready(pool) == ["a"])
    use(pool, "a")
    assert workshop.loaded() == ["a"]


def test_an_unknown_model_is_refused_with_the_list(workshop: Workshop) -> None:
    pool = workshop.pool()
    for call in (pool.state, pool.warm, pool.require, lambda name: ask(pool, name)):
        with pytest.raises(UnknownModel, match=r"'x'.*a, b, c"):
            call("x")


# --- workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "given", "count"),
    [
        (SMALL_WEIGHTS_BYTES, {}, 3),
        (SMALL_WEIGHTS_BYTES + 1, {}, 1),
        (1, {"engine": "torch"}, 1),
        (SMALL_WEIGHTS_BYTES + 1, {"copies": 2}, 2),
        (1, {"copies": 1}, 1),
    ],
)
def test_a_model_has_as_many_workers_as_the_settings_say_or_are_worth_their_memory(
    workshop: Workshop, weights: int, given: dict[str, Any], count: int
) -> None:
    workshop.weights_bytes = weights
    workshop.pool(threads=3, **given)
    wait_until(lambda: len(workshop.workers) == count)


@pytest.mark.parametrize(("limit", "count"), [(3 * SIZE, 3), (3 * SIZE - 1, 2), (SIZE, 1)])
def test_further_workers_are_started_while_they_fit(
    workshop: Workshop, limit: int, count: int
) -> None:
    pool = workshop.pool(limit, threads=3)
    use(pool, "a")
    wait_until(lambda: sum(len(model.workers) for model in pool._models.values()) == count)


@pytest.mark.parametrize(
    ("threads", "count", "others", "slots"),
    [(1, 1, 1, 1), (2, 2, 1, 1), (4, 2, 2, 2), (5, 2, 2, 3)],
)
def test_the_first_worker_has_all_threads_the_others_their_share(
    workshop: Workshop, threads: int, count: int, others: int, slots: int
) -> None:
    workshop.pool(threads=threads, copies=count)
    wait_until(lambda: len(workshop.workers) == count)
    assert [worker.settings.threads for worker in workshop.workers] == [threads, others][:count]
    assert {len(worker.slots) for worker in workshop.workers} == {slots}


def test_only_the_picture_of_a_worker_that_ends_is_lost_and_another_worker_follows(
    workshop: Workshop, callers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    pool = workshop.pool(threads=2)
    wait_until(lambda: len(pool._models["a"].workers) == 2)
    first, second = workshop.workers
    lost = callers.submit(ask, pool, "a", SLOW)
    assert first.gate.came.wait(10)
    use(pool, "a", "a")
    first.over.set()
    wait_until(lambda: first.has_exited)
    first.gate.opened.set()
    with pytest.raises(WorkerLost):
        lost.result(10)
    wait_until(lambda: len(workshop.workers) == 3)
    use(pool, "a", "a")
    assert first.asked == [SLOW]
    assert len(second.asked) >= 2
    assert "a worker of model a ended with status -9" in caplog.text


def test_a_picture_that_a_worker_was_not_even_given_goes_to_another(workshop: Workshop) -> None:
    pool = workshop.pool(threads=2)
    wait_until(lambda: len(pool._models["a"].workers) == 2)
    first, second = workshop.workers
    first.is_gone = True
    use(pool, "a", "a")
    assert (first.asked, len(second.asked)) == ([], 2)


def test_without_any_worker_a_model_is_loading_again_and_who_waits_is_answered(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool()
    use(pool, "a")
    workshop.may_load.clear()
    workshop.workers[0].over.set()
    wait_until(lambda: pool.state("a")[0] == "loading")
    with pytest.raises(NotReady, match="being loaded again"):
        pool.ready_id()
    waiting = callers.submit(ask, pool, "a")
    workshop.may_load.set()
    assert waiting.result(10) == "a"
    assert pool.ready_id() == "a"


def test_a_model_whose_workers_are_all_stuck_is_not_ready(workshop: Workshop) -> None:
    pool = workshop.pool(threads=2)
    wait_until(lambda: len(pool._models["a"].workers) == 2)
    workshop.workers[0].stuck = True
    assert pool.ready_id() == "a"
    workshop.workers[1].stuck = True
    with pytest.raises(NotReady):
        pool.ready_id()


def test_a_worker_that_cannot_be_started_again_is_logged_and_tried_again(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    pool = workshop.pool()
    use(pool, "a")
    workshop.errors = [ModelError("no memory"), OSError("no process")]
    workshop.workers[0].over.set()
    wait_until(lambda: len(workshop.workers) == 4)
    wait_until(lambda: ready(pool))
    said = "a worker of model a could not be started"
    errors = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert [entry.getMessage() for entry in errors[1:]] == [f"{said}: no memory", said]
    assert "no process" in caplog.text


def test_a_worker_that_was_loading_when_its_pool_closed_ends_as_well(workshop: Workshop) -> None:
    pool = workshop.pool(threads=2)
    wait_until(lambda: ready(pool))
    workshop.may_load.clear()
    workshop.workers[0].over.set()
    wait_until(lambda: len(workshop.workers) == 3)
    pool.close()
    workshop.may_load.set()
    wait_until(workshop.workers[-1].over.is_set)
    assert len(workshop.workers) == 3


# --- the queue ---------------------------------------------------------------------------------


def test_who_waited_longest_is_next(workshop: Workshop, callers: ThreadPoolExecutor) -> None:
    pool = workshop.pool()
    worker, answer = in_use(workshop, pool, "a", callers)
    waiting = []
    for number in range(5):
        waiting.append(callers.submit(ask, pool, "a", b"%d" % number))
        wait_until(lambda: len(pool._queue._waiting) == number + 1)  # noqa: B023  it is called at once
    worker.gate.opened.set()
    assert [future.result(10) for future in (answer, *waiting)] == ["a"] * 6
    assert worker.asked[1:] == [SLOW, b"0", b"1", b"2", b"3", b"4"]


def test_no_more_pictures_than_threads_are_computed_at_once_whatever_their_models(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool(threads=2, copies=1)
    held = [in_use(workshop, pool, model_id, callers) for model_id in ("a", "b")]
    third = callers.submit(ask, pool, "c")
    wait_until(lambda: ready(pool) == list(IDS))
    assert (pool.computing, len(pool._queue._waiting), third.done()) == (2, 1, False)
    for worker, answer in held:
        worker.gate.opened.set()
        assert answer.result(10) == worker.model
    assert third.result(10) == "c"
    assert pool.computing == 0


def test_who_waits_for_a_loading_model_does_not_hold_up_those_behind(workshop: Workshop) -> None:
    pool = workshop.pool(load_wait_s=0.2)
    use(pool, "a")
    workshop.may_load.clear()
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(ask, pool, "b")
        wait_until(lambda: len(pool._queue._waiting) == 1)
        use(pool, "a")
        with pytest.raises(NotReady):
            waiting.result(10)
    assert pool._queue._waiting == []


def test_a_request_that_no_worker_takes_in_time_is_told_to_come_again(
    workshop: Workshop, callers: ThreadPoolExecutor
) -> None:
    pool = workshop.pool(load_wait_s=0.01, predict_timeout_s=0.05)
    worker, answer = in_use(workshop, pool, "a", callers)
    with pytest.raises(Busy, match="no worker was free in time"):
        ask(pool, "a")
    worker.gate.opened.set()
    assert answer.result(10) == "a"
    use(pool, "a")
