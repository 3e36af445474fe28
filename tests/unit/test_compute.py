"""A backend and the processes that compute for it, without processes: over pairs of sockets."""

import logging
import logging.config
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import (
    ArtefactInvalid,
    DamagedPicture,
    HttpError,
    ModelError,
    NotReady,
    TooManyPixels,
    UnsupportedFormat,
)
from imgserve.log import logging_config
from imgserve.models import wire
from imgserve.models import worker as program
from imgserve.models.copy import REFUSALS, Copy
from imgserve.models.model import Computed
from imgserve.models.wire import (
    LENGTHS,
    Compute,
    Done,
    Fault,
    Head,
    Load,
    Loaded,
    Refused,
    receive,
    send,
)
from imgserve.pictures import colour, decode
from imgserve.pictures import decode_limits as effort
from imgserve.settings import BackendSettings
from tests.unit.conftest import Pair, Pairs

CAT = Computed(
    [Prediction("cat", 281, 0.75), Prediction("dog", 1, 0.25)],
    decode_ms=1.5,
    preprocess_ms=0.25,
    inference_ms=9.0,
)
SETTINGS = BackendSettings(
    weights_dir=Path("/weights of ours/größe"),
    threads=4,
    copies=2,
    port=8080,
    models=("resnet152", "swin_b"),
    allowed_addresses=("127.0.0.1/32",),
    load_wait_s=0.5,
    log_level="DEBUG",
)
OPTIONS = PredictOptions(top_k=2)
FROM_DECODE = (DamagedPicture, TooManyPixels, UnsupportedFormat)


# The messages


@pytest.mark.parametrize(
    "head",
    [
        Load("resnet152", SETTINGS),
        Load("resnet152", BackendSettings()),
        Loaded(),
        Compute(5, True),
        Done(CAT),
        Done(Computed(CAT.predictions, 0.0, 0.0, 0.0, "data:image/jpeg;base64,/9j/")),
        Refused("no such picture: größer", "too-many-pixels"),
        Refused("no weights"),
        Fault(),
    ],
    ids=lambda head: type(head).__name__,
)
def test_a_message_of_every_kind_arrives_as_it_was_sent(pairs: Pairs, head: Head) -> None:
    ours, theirs = pairs()
    send(ours, head)
    assert receive(theirs) == (head, b"")


def test_messages_follow_each_other_both_ways(pairs: Pairs) -> None:
    ours, theirs = pairs()
    for number, body in enumerate((b"", b"\0", b"\xff" * 1000, b"")):
        send(ours, Compute(number, False), body)
        send(theirs, Refused(str(number)))
    for number, body in enumerate((b"", b"\0", b"\xff" * 1000, b"")):
        assert receive(theirs) == (Compute(number, False), body)
        assert receive(ours) == (Refused(str(number)), b"")


def test_a_picture_larger_than_the_sockets_hold_arrives_whole(pairs: Pairs) -> None:
    ours, theirs = pairs()
    picture = os.urandom(5_000_000)
    sending = threading.Thread(target=send, args=(ours, Compute(1, False), picture))
    sending.start()
    head, body = receive(theirs)
    sending.join()
    assert head == Compute(1, False)
    assert body == picture


def test_a_side_that_is_gone_is_noticed_at_once(pairs: Pairs) -> None:
    ours, theirs = pairs()
    theirs.close()
    with pytest.raises(OSError, match="gone"):
        receive(ours)
    with pytest.raises(BrokenPipeError):
        send(ours, Compute(1, False), b"picture")


WHOLE = wire.ENCODER.encode(Compute(1, False))
MESSAGE = LENGTHS.pack(len(WHOLE), 7) + WHOLE + b"picture"


@pytest.mark.parametrize("count", [1, LENGTHS.size, LENGTHS.size + 3, len(MESSAGE) - 1])
def test_half_a_message_is_as_good_as_none(pairs: Pairs, count: int) -> None:
    ours, theirs = pairs()
    ours.sendall(MESSAGE[:count])
    ours.close()
    with pytest.raises(ConnectionResetError, match="gone"):
        receive(theirs)


def test_the_message_cut_above_is_otherwise_whole(pairs: Pairs) -> None:
    ours, theirs = pairs()
    ours.sendall(MESSAGE)
    assert receive(theirs) == (Compute(1, False), b"picture")


# The program


@dataclass
class ModelStandIn:
    """A model that answers what its test says."""

    answer: Callable[[bytes, PredictOptions], Computed]
    model: str = "small"

    def check(self) -> None:
        """Do nothing."""

    def compute(self, data: bytes, options: PredictOptions) -> Computed:
        """Return the test's answer."""
        return self.answer(data, options)


class Running:
    """The program in a thread, with as many lanes to it."""

    def __init__(self, made: list[Pair]) -> None:
        self.lanes = [ours for ours, _ in made]
        self._status: list[int] = []
        theirs = [each for _, each in made]
        self._thread = threading.Thread(target=lambda: self._status.append(program.main(theirs)))
        self._thread.start()

    def status(self) -> int:
        """Return the exit status, once nobody asks any more."""
        for lane in self.lanes:
            lane.close()
        self._thread.join(10)
        return self._status[0]


Answer = Callable[[bytes, PredictOptions], Computed]
Run = Callable[..., Running]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> Iterator[Run]:
    """Return a function that starts the program with a stand-in for its model."""
    started: list[Running] = []
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)

    def run(answer: Answer = lambda *_: CAT, *, lanes: int = 1) -> Running:
        monkeypatch.setattr(program, "load_here", lambda *_: ModelStandIn(answer))
        started.append(Running([pairs() for _ in range(lanes)]))
        send(started[-1].lanes[0], Load("small", SETTINGS))
        assert receive(started[-1].lanes[0]) == (Loaded(), b"")
        return started[-1]

    yield run
    for each in started:
        each.status()


def asked(lane: socket.socket, data: bytes = b"picture") -> Head:
    """Return what the program answers to a picture."""
    send(lane, Compute(2, True), data)
    return receive(lane)[0]


def test_the_program_loads_what_it_is_told_and_logs_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(logging.config, "dictConfig", told.append)

    def load_here(settings: BackendSettings, model: str) -> ModelStandIn:
        told.extend((settings, model))
        return ModelStandIn(lambda *_: CAT)

    monkeypatch.setattr(program, "load_here", load_here)
    running = Running([pairs()])
    send(running.lanes[0], Load("small", SETTINGS))
    assert receive(running.lanes[0]) == (Loaded(), b"")
    assert told == [logging_config("DEBUG"), SETTINGS, "small"]
    assert running.status() == 0


def test_the_program_hands_the_picture_and_the_options_on(run: Run) -> None:
    given: list[tuple[bytes, PredictOptions]] = []

    def answer(data: bytes, options: PredictOptions) -> Computed:
        given.append((data, options))
        return CAT

    running = run(answer)
    assert asked(running.lanes[0]) == Done(CAT)
    assert asked(running.lanes[0], b"") == Done(CAT)
    options = PredictOptions(top_k=2, thumbnail=True)
    assert given == [(b"picture", options), (b"", options)]


@pytest.mark.parametrize("error", FROM_DECODE, ids=lambda error: error.slug)
def test_a_picture_that_cannot_be_used_is_refused_by_name_and_the_next_one_is_computed(
    run: Run, error: type[HttpError]
) -> None:
    def answer(data: bytes, _: PredictOptions) -> Computed:
        if data == b"bad":
            raise error("use another picture")
        return CAT

    running = run(answer)
    assert asked(running.lanes[0], b"bad") == Refused("use another picture", error.slug)
    assert asked(running.lanes[0]) == Done(CAT)


def test_an_error_that_nobody_foresaw_is_logged_and_the_next_picture_is_computed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(data: bytes, _: PredictOptions) -> Computed:
        if data == b"bad":
            raise ZeroDivisionError("of a picture without rows")
        return CAT

    running = run(answer)
    assert asked(running.lanes[0], b"bad") == Fault()
    assert asked(running.lanes[0]) == Done(CAT)
    (entry,) = caplog.records
    assert entry.getMessage() == "a picture could not be classified"
    assert "of a picture without rows" in caplog.text


def test_a_model_that_cannot_be_had_ends_the_program_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    def load_here(*_: object) -> ModelStandIn:
        raise ArtefactInvalid("files are damaged: compile it again")

    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)
    monkeypatch.setattr(program, "load_here", load_here)
    running = Running([pairs()])
    send(running.lanes[0], Load("small", SETTINGS))
    assert receive(running.lanes[0]) == (Refused("files are damaged: compile it again"), b"")
    assert running.status() == 1


def test_several_lanes_are_computed_at_once(run: Run) -> None:
    together = threading.Barrier(3)

    def answer(data: bytes, _: PredictOptions) -> Computed:
        together.wait(10)  # breaks unless all three come
        return Computed([Prediction(data.decode(), 0, 1.0)], 0.0, 0.0, 0.0)

    running = run(answer, lanes=3)
    for number, lane in enumerate(running.lanes):
        send(lane, Compute(1, False), b"picture %d" % number)
    for number, lane in enumerate(running.lanes):
        head, _ = receive(lane)
        assert isinstance(head, Done)
        assert head.computed.predictions[0].category == f"picture {number}"


def test_the_program_ends_without_complaint_when_the_backend_has_ended(run: Run) -> None:
    assert run(lanes=2).status() == 0


def test_the_program_ends_without_complaint_when_the_backend_ends_while_it_loads(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    ended = threading.Event()

    def load_here(*_: object) -> ModelStandIn:
        assert ended.wait(10)
        return ModelStandIn(lambda *_: CAT)

    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)
    monkeypatch.setattr(program, "load_here", load_here)
    running = Running([pairs(), pairs()])
    send(running.lanes[0], Load("small", SETTINGS))
    for lane in running.lanes:
        lane.close()
    ended.set()
    assert running.status() == 0


# A copy, whose process is played by a thread


class ProcessStandIn:
    """Instead of a process: how it was started, and its ends of the sockets."""

    made: list["ProcessStandIn"]  # those of one test

    def __init__(self, command: list[str], *, pass_fds: list[int], **how: object) -> None:
        assert command[3:] == [str(number) for number in pass_fds]
        self.how = how
        self.sockets = [socket.socket(fileno=os.dup(number)) for number in pass_fds]
        self.made.append(self)

    def answers(self, *heads: Head) -> None:
        """Answer the next messages of the first lane, then end."""
        for head in heads:
            receive(self.sockets[0])
            send(self.sockets[0], head)
        self.end()

    def end(self) -> None:
        """Close all sockets, as a process that ends."""
        for each in self.sockets:
            each.close()

    def wait(self) -> int:
        """Return an exit status."""
        return -9


Scripted = Callable[..., Copy]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Return a function that makes a copy whose process gives these answers and ends."""
    monkeypatch.setattr(ProcessStandIn, "made", [], raising=False)
    monkeypatch.setattr(subprocess, "Popen", ProcessStandIn)
    threads: list[threading.Thread] = []
    made: list[Copy] = []

    def scripted(*heads: Head, lanes: int = 1) -> Copy:
        made.append(Copy(SETTINGS, "small", lanes=lanes))
        process = ProcessStandIn.made[-1]
        threads.append(threading.Thread(target=process.answers, args=heads))
        threads[-1].start()
        return made[-1]

    yield scripted
    for each in made:
        each.close()
    for thread in threads:
        thread.join(10)


def test_a_copy_has_a_lane_for_each_picture_at_once(scripted: Scripted) -> None:
    assert len(scripted(lanes=3).lanes) == len(ProcessStandIn.made[0].sockets) == 3


def test_a_copy_reads_no_terminal_and_is_not_interrupted_from_it(scripted: Scripted) -> None:
    scripted()
    (process,) = ProcessStandIn.made
    assert process.how == {"stdin": subprocess.DEVNULL, "process_group": 0}


def test_a_copy_is_loaded_once_its_process_says_so(scripted: Scripted) -> None:
    made = scripted(Loaded(), Done(CAT))
    made.wait_until_loaded()
    assert made.compute(made.lanes[0], b"picture", OPTIONS) == CAT
    assert not made.is_lost


def test_what_a_process_says_of_a_model_that_cannot_be_had_is_what_is_raised(
    scripted: Scripted,
) -> None:
    with pytest.raises(ModelError, match=r"^no weights: try again$"):
        scripted(Refused("no weights: try again")).wait_until_loaded()


def test_a_process_that_ends_while_it_loads_is_told_with_its_status(scripted: Scripted) -> None:
    with pytest.raises(ModelError, match="that loaded small ended with -9: the log says why"):
        scripted().wait_until_loaded()


def test_a_refusal_is_raised_as_the_error_it_names_and_the_lane_goes_on(
    scripted: Scripted,
) -> None:
    made = scripted(Refused("use another", "damaged-picture"), Done(CAT))
    with pytest.raises(DamagedPicture, match=r"^use another$"):
        made.compute(made.lanes[0], b"picture", OPTIONS)
    assert made.compute(made.lanes[0], b"picture", OPTIONS) == CAT
    assert not made.is_lost


def test_a_fault_is_no_refusal(scripted: Scripted) -> None:
    made = scripted(Fault(), Done(CAT))
    with pytest.raises(RuntimeError, match="an entry above says why"):
        made.compute(made.lanes[0], b"picture", OPTIONS)
    assert made.compute(made.lanes[0], b"picture", OPTIONS) == CAT
    assert not made.is_lost


def test_a_process_that_ends_while_it_computes_is_found_lost(scripted: Scripted) -> None:
    made = scripted()
    with pytest.raises(NotReady, match=r"computed with small has ended.*send the picture again"):
        made.compute(made.lanes[0], b"picture", OPTIONS)
    assert made.is_lost


def test_whatever_decode_refuses_can_be_named_and_made_again() -> None:
    known = [vars(module).values() for module in (decode, colour, effort)]
    raised = {
        each
        for values in known
        for each in values
        if isinstance(each, type) and issubclass(each, HttpError) and each is not HttpError
    }
    assert raised >= set(FROM_DECODE)
    for error in raised:
        assert REFUSALS[error.slug] is error
        assert str(REFUSALS[error.slug]("use another")) == "use another"


def test_no_two_refusals_have_one_name() -> None:
    ours = [each for each in HttpError.__subclasses__() if each.__module__ == HttpError.__module__]
    assert len(REFUSALS) == len({each.slug for each in ours}) == len(ours)
