"""Models come and go, and no request ever gets another one's model."""

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imgserve.errors import ModelError, NotReady, UnknownModel
from imgserve.models import loading_model
from imgserve.models import pool as pools
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import Transform
from imgserve.models.local import LocalModel
from imgserve.models.model import Model
from imgserve.models.pool import ModelPool
from tests.unit import pictures
from tests.unit.waiting import wait_until

IDS = ("a", "b", "c")
WAIT_S = 10


class Loads:
    """Stands in for what loads models: counts, waits and fails as it is told."""

    def __init__(self, size_bytes: int = 10) -> None:
        self.size_bytes = size_bytes
        self.begun: list[str] = []
        self.at_once = 0
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def prepare(self, _: str) -> int:
        return self.size_bytes

    def load(self, model_id: str) -> Classifier:
        self.begun.append(model_id)
        self.at_once += 1
        assert self.at_once == 1, "two models are loaded at once"
        self.go.wait(WAIT_S)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        transform = Transform(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        probabilities = np.eye(3, dtype=np.float32)[[IDS.index(model_id)]]
        return Classifier(model_id, list(IDS), transform, lambda _: probabilities)

    def load_here(self, model_id: str) -> Model:
        return LocalModel(self.load(model_id), limit_pixels=1_000_000)

    def pool(self, limit_bytes: int) -> ModelPool[Classifier]:
        return ModelPool(IDS, self.prepare, self.load, limit_bytes=limit_bytes)


def ready(pool: ModelPool) -> list[str]:
    return [model_id for model_id in IDS if pool.state(model_id)[0] == "ready"]


def use(pool: ModelPool, *model_ids: str) -> None:
    for model_id in model_ids:
        with pool.using(model_id, WAIT_S) as classifier:
            assert classifier.model == model_id


def test_models_load_on_first_use_and_stay_while_they_fit() -> None:
    loads = Loads()
    pool = loads.pool(limit_bytes=30)
    assert ready(pool) == []
    use(pool, "a", "b", "c", "a", "b", "c")
    assert loads.begun == ["a", "b", "c"]
    assert ready(pool) == ["a", "b", "c"]


def test_the_least_recently_used_leaves_first() -> None:
    loads = Loads()
    pool = loads.pool(limit_bytes=29)
    use(pool, "a", "b", "a", "c")
    assert ready(pool) == ["a", "c"]
    use(pool, "b")
    assert ready(pool) == ["b", "c"]


@pytest.mark.parametrize(("limit_bytes", "kept"), [(20, ["a", "b"]), (19, ["b"])])
def test_exactly_the_limit_fits_and_one_byte_less_does_not(
    limit_bytes: int, kept: list[str]
) -> None:
    pool = Loads().pool(limit_bytes)
    use(pool, "a", "b")
    assert ready(pool) == kept


def test_a_model_larger_than_the_limit_is_served_alone(caplog: pytest.LogCaptureFixture) -> None:
    pool = Loads().pool(limit_bytes=5)
    use(pool, "a", "b")
    assert ready(pool) == ["b"]
    assert "model b alone takes more than MODEL_MEMORY_MB" in caplog.text


def test_many_who_ask_at_once_cause_one_load() -> None:
    loads = Loads()
    loads.go.clear()
    pool = loads.pool(limit_bytes=30)
    with ThreadPoolExecutor(max_workers=16) as callers:
        asked = [callers.submit(use, pool, "a") for _ in range(16)]
        loads.go.set()
        for each in asked:
            each.result(WAIT_S)
    assert loads.begun == ["a"]


def test_those_who_wait_too_long_are_told_to_come_again_and_find_it_loaded() -> None:
    loads = Loads()
    loads.go.clear()
    pool = loads.pool(limit_bytes=30)
    with pytest.raises(NotReady, match="still loading"), pool.using("a", 0.01):
        pass
    assert pool.state("a") == ("loading", None)
    loads.go.set()
    use(pool, "a")
    assert loads.begun == ["a"]


def test_warming_loads_without_waiting() -> None:
    loads = Loads()
    loads.go.clear()
    pool = loads.pool(limit_bytes=30)
    pool.warm("b")
    assert pool.state("b")[0] == "loading"
    loads.go.set()
    use(pool, "b")
    assert loads.begun == ["b"]


def test_a_model_in_use_is_not_freed_before_its_request_ends() -> None:
    pool = Loads().pool(limit_bytes=10)
    picture = pictures.picture("chelsea.png")
    with ThreadPoolExecutor() as callers:
        with pool.using("a", WAIT_S) as classifier:
            other = callers.submit(use, pool, "b")
            wait_until(lambda: pool.state("a")[0] == "absent")  # it has left the table
            assert pool.state("b")[0] == "loading"
            assert not other.done()
            assert classifier(picture).probabilities[0] == 1
        other.result(WAIT_S)
    assert ready(pool) == ["b"]


def test_while_models_in_use_hold_the_memory_others_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "ROOM_WAIT_S", 0.05)
    pool = Loads().pool(limit_bytes=10)
    with (
        pool.using("a", WAIT_S),
        pytest.raises(NotReady, match="memory is taken"),
        pool.using("b", WAIT_S),
    ):
        pass
    use(pool, "b")


def test_a_failed_model_says_why_and_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads()
    loads.error = ModelError("no weights")
    pool = loads.pool(limit_bytes=30)
    for _ in range(2):
        with pytest.raises(NotReady, match="could not be loaded: no weights"):
            use(pool, "a")
    assert loads.begun == ["a"]
    assert pool.state("a") == ("absent", "no weights")
    loads.error = None
    use(pool, "b")
    later = loading_model.time.monotonic() + loading_model.RETRY_S
    monkeypatch.setattr(loading_model.time, "monotonic", lambda: later)
    use(pool, "a")
    assert pool.state("a") == ("ready", None)


def test_a_failed_model_takes_no_memory() -> None:
    loads = Loads()
    loads.error = ModelError("no weights")
    pool = loads.pool(limit_bytes=20)
    with pytest.raises(NotReady):
        use(pool, "a")
    loads.error = None
    use(pool, "b", "c")
    assert ready(pool) == ["b", "c"]


def test_a_model_that_must_be_downloaded_first_keeps_no_other_waiting() -> None:
    loads = Loads()
    downloaded = threading.Event()

    def prepare(model_id: str) -> int:
        if model_id == "a":
            downloaded.wait(WAIT_S)
        return loads.size_bytes

    pool = ModelPool(IDS, prepare, loads.load, limit_bytes=30)
    pool.warm("a")
    use(pool, "b", "c")
    assert pool.state("a")[0] == "loading"
    downloaded.set()
    use(pool, "a")


def test_an_idle_model_leaves_before_one_in_use() -> None:
    pool = Loads().pool(limit_bytes=20)
    with pool.using("a", WAIT_S):
        use(pool, "b", "c")
        assert ready(pool) == ["a", "c"]


def test_ready_is_the_default_or_else_any_other() -> None:
    loads = Loads()
    loads.error = ModelError("no weights")
    pool = loads.pool(limit_bytes=30)
    with pytest.raises(NotReady):
        use(pool, "a")
    with pytest.raises(NotReady, match="no weights"):
        pool.ready_id()
    loads.error = None
    use(pool, "c")
    assert pool.ready_id() == "c"


def test_an_unknown_model_is_refused_with_the_list() -> None:
    pool = Loads().pool(limit_bytes=30)
    calls: list[Callable[[], object]] = [
        lambda: pool.state("x"),
        lambda: pool.warm("x"),
        lambda: use(pool, "x"),
    ]
    for call in calls:
        with pytest.raises(UnknownModel, match=r"'x'.*a, b, c"):
            call()


@pytest.mark.parametrize("limit_bytes", [10, 20, 30])
def test_every_caller_gets_the_model_it_asked_for_whatever_comes_and_goes(
    limit_bytes: int,
) -> None:
    pool = Loads().pool(limit_bytes)
    picture = pictures.picture("chelsea.png").resize((8, 8))

    def caller(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(60):
            model_id = order.choice(IDS)
            if order.random() < 0.2:
                pool.warm(order.choice(IDS))
            with pool.using(model_id, WAIT_S) as classifier:
                made = classifier(picture)
                assert made.model == model_id
                assert made.probabilities[IDS.index(model_id)] == 1

    with ThreadPoolExecutor(max_workers=8) as callers:
        for done in [callers.submit(caller, seed) for seed in range(8)]:
            done.result(60)
    held = [pool._table[model_id].size_bytes for model_id in ready(pool)]
    assert sum(held) <= limit_bytes
    assert pool._leaving == []


class SlowToSay(logging.Handler):
    """Holds up who says that a model is loaded, as standard error can: until another one loads."""

    def __init__(self, until: threading.Event) -> None:
        super().__init__()
        self._until = until

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("model a loaded"):
            self._until.wait(1)


def test_a_model_loaded_a_moment_ago_makes_room_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one looks for room before the first counts as ready."""
    loads = Loads()
    pool = loads.pool(limit_bytes=19)
    second_began = threading.Event()
    loads.go.clear()
    log = logging.getLogger("imgserve.models.loading_model")
    monkeypatch.setattr(log, "level", logging.INFO)
    monkeypatch.setattr(log, "handlers", [SlowToSay(second_began)])
    pool.warm("a")
    wait_until(lambda: loads.begun == ["a"])
    pool.warm("b")
    loads.go.set()
    wait_until(lambda: "b" in loads.begun)
    second_began.set()
    use(pool, "b")
    wait_until(lambda: pool.state("a")[0] != "loading", WAIT_S)
    assert ready(pool) == ["b"]
