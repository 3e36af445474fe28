"""A model in several copies: which there are, what each is told, and that none is lost for long."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgserve.errors import InvalidSetting, ModelError
from imgserve.models import copies
from imgserve.models.copies import SMALL_BYTES, Copies, load_copies
from imgserve.models.copy import Copy
from imgserve.settings import BackendSettings
from tests.unit.conftest import Pairs
from tests.unit.waiting import wait_until


@dataclass(eq=False)
class CopyStandIn:
    """A copy that loads when it is told to, and ends when it is closed or told to."""

    settings: BackendSettings
    model: str
    lanes: list[socket.socket]
    may_load: threading.Event
    over: threading.Event = field(default_factory=threading.Event)
    is_lost: bool = False

    def wait_until_loaded(self) -> None:
        """Wait until the test lets it load."""
        assert self.may_load.wait(10)

    def ended(self) -> int:
        """Wait until it has ended."""
        assert self.over.wait(10)
        return -9

    def close(self) -> None:
        """End."""
        self.over.set()


@dataclass
class Started:
    """The copies that a test started, in order; those after the first load once told to."""

    copies: list[CopyStandIn] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> Iterator[Started]:
    """Let stand-ins be started instead of copies; end them and those who keep them."""
    all_started = Started()
    before = set(threading.enumerate())

    def start(settings: BackendSettings, model: str, *, lanes: int) -> CopyStandIn:
        may_load = all_started.may_load
        if not all_started.copies:
            may_load = threading.Event()
            may_load.set()
        ours = [pairs()[0] for _ in range(lanes)]
        all_started.copies.append(CopyStandIn(settings, model, ours, may_load))
        return all_started.copies[-1]

    monkeypatch.setattr(copies, "Copy", start)
    monkeypatch.setattr(copies, "PAUSE_S", 0.0)
    yield all_started
    all_started.may_load.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def made_of(settings: BackendSettings, copies: int, started: Started) -> Copies:
    """Return a model in copies that all run."""
    started.may_load.set()
    made = Copies(settings, "small", copies=copies)
    wait_until(lambda: len(made._running) == copies)
    return made


@pytest.mark.parametrize(
    ("threads", "count", "others", "lanes"),
    [(1, 1, 1, 1), (2, 2, 1, 1), (4, 2, 2, 2), (5, 2, 2, 3)],
)
def test_the_first_copy_has_all_threads_the_others_their_share(
    started: Started, threads: int, count: int, others: int, lanes: int
) -> None:
    made = made_of(BackendSettings(threads=threads, copies=count), count, started)
    assert [each.settings.threads for each in started.copies] == [threads, others][:count]
    assert {len(each.lanes) for each in started.copies} == {lanes}
    assert len(made._free) >= threads  # as many pictures as the gate lets compute
    made.close()


def test_a_lane_given_back_after_its_copy_was_mourned_is_not_used_again(started: Started) -> None:
    made = made_of(BackendSettings(threads=1), 1, started)
    (first,) = made._running
    with made._lane() as lane:
        started.copies[0].over.set()
        wait_until(lambda: made._running and first not in made._running)
        assert lane.copy is first
    assert [each.copy for each in made._free] == list(made._running)
    made.close()


def test_a_copy_that_was_loading_when_all_were_closed_ends_as_well(started: Started) -> None:
    made = Copies(BackendSettings(threads=2), "small", copies=2)
    wait_until(lambda: len(started.copies) == 2)
    made.close()
    started.may_load.set()
    wait_until(started.copies[1].over.is_set)
    assert len(started.copies) == 2


def test_a_copy_that_cannot_be_started_again_is_logged_and_tried_again(
    started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = made_of(BackendSettings(threads=1), 1, started)
    failing = [ModelError("no memory"), OSError("no process")]
    start: Callable[..., Copy] = vars(copies)["Copy"]

    def fail(*args: Any, **more: Any) -> Copy:
        if failing:
            raise failing.pop(0)
        return start(*args, **more)

    monkeypatch.setattr(copies, "Copy", fail)
    started.copies[0].over.set()
    wait_until(lambda: len(started.copies) == 2)
    wait_until(lambda: made._running)
    said = "a copy of model small could not be started"
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == [
        "a copy of model small ended with status -9",
        f"{said}: no memory",
        said,
    ]
    assert "no process" in caplog.text
    made.close()


# How many


@pytest.mark.parametrize(
    ("size_bytes", "given", "count"),
    [
        (1, {}, 3),
        (SMALL_BYTES, {}, 3),
        (SMALL_BYTES + 1, {}, 1),
        (1, {"engine": "torch"}, 1),
        (SMALL_BYTES + 1, {"copies": 2}, 2),
        (1, {"copies": 1}, 1),
        (1, {"copies": 2, "engine": "torch"}, 2),
    ],
)
def test_a_model_has_as_many_copies_as_the_settings_say_or_are_worth_their_memory(
    monkeypatch: pytest.MonkeyPatch, size_bytes: int, given: dict[str, Any], count: int
) -> None:
    settings = BackendSettings(threads=3, **given)
    monkeypatch.setattr(copies, "prepare", lambda *_: size_bytes)
    monkeypatch.setattr(copies, "Copies", lambda *made, copies: (*made, copies))
    assert load_copies(settings, "small") == (settings, "small", count)  # type: ignore[comparison-overlap]


def test_more_copies_than_threads_are_refused_by_both_names() -> None:
    with pytest.raises(InvalidSetting, match=r"COPIES=3 .* THREADS=2: each copy needs a thread"):
        BackendSettings.from_environ({"COPIES": "3", "THREADS": "2"})


def test_as_many_copies_as_threads_are_accepted() -> None:
    given = BackendSettings.from_environ({"COPIES": "2", "THREADS": "2"})
    assert (given.copies, given.threads) == (2, 2)
    assert BackendSettings.from_environ({"THREADS": "2"}).copies is None
