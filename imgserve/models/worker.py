"""A worker: a process that has loaded one model and classifies pictures with it.

This is the backend's side; ``worker_process`` is the other. Both talk over pairs of sockets: one
for control, which carries what to load and then closes when either side ends, and one for each
picture that the worker computes at once. Messages are MessagePack; nothing in them comes from
outside but the picture's file.
"""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import ModelError, WorkerLost, http_errors
from imgserve.settings import BackendSettings

# What runs a model, by ENGINE. Only a process of its own imports either.
PROGRAMS = {"openvino": "imgserve.models.worker_process", "torch": "imgserve.compile.torch_worker"}
START_TIMEOUT_S = 300.0  # large models load in seconds, from a slow disk in a minute
TICK_S = 1.0  # how often a worker's time is checked, at most
END_TIMEOUT_S = 2.0
STUCK_S = 5.0  # a worker that computes one picture for longer is not counted as ready
# One heap, since one for each thread wastes memory; it keeps a usual picture's for the next one
# (mallopt(3)).
KEPT_BYTES = 16 * 1024 * 1024
HEAP = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
}


class Load(msgspec.Struct, tag=True, frozen=True):
    """Load a model and say when it is ready; ``settings.threads`` compute one inference."""

    model: str
    settings: BackendSettings
    slots: int


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The model is loaded and warm."""

    precision: str  # that it computes in
    classes: int


class Job(msgspec.Struct, tag=True, frozen=True):
    """Classify a picture's file."""

    data: bytes
    thumbnail: bool
    top_k: int | msgspec.UnsetType = msgspec.UNSET
    explain: bool = False


class Result(msgspec.Struct, tag=True, frozen=True):
    """What a model makes of one picture.

    Attributes:
        predictions: as many as were asked for, most probable first.
        thumbnail: JPEG data URI of what the model saw, where it was asked for.
        incomplete: whether the end of the file is missing.
        precision: what was computed in.
        explanation: how much each place of the picture matters, where it was asked for.
    """

    predictions: list[Prediction]
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    thumbnail: str | None = None
    incomplete: bool = False
    precision: str = "fp32"
    explanation: list[list[float]] | None = None


class Rejected(msgspec.Struct, tag=True, frozen=True):
    """A deliberate error; ``slug`` names its class where that is an HttpError."""

    detail: str
    slug: str = ""


class InternalFailure(msgspec.Struct, tag=True, frozen=True):
    """An error that nobody foresaw; the worker has logged it."""


Message = Load | Loaded | Job | Result | Rejected | InternalFailure


def _from_text(kind: type, text: Any) -> Any:
    return kind(text)  # paths, which msgspec leaves to us


ENCODER = msgspec.msgpack.Encoder(enc_hook=str)
DECODER = msgspec.msgpack.Decoder(Message, dec_hook=_from_text)
HTTP_ERRORS = http_errors()


def send(connection: Connection, message: Message) -> None:
    """Send a message; raises OSError where the other side has ended."""
    connection.send_bytes(ENCODER.encode(message))


def receive(connection: Connection) -> Message:
    """Return the next message; raises OSError or EOFError where the other side has ended."""
    message: Message = DECODER.decode(connection.recv_bytes())
    return message


@dataclass
class Stopwatch:
    """How long a worker has been at one picture."""

    elapsed_s: float = 0.0


class WorkerExited(Exception):
    """A worker had ended before it was given a picture: another one can have it."""


class Slot:
    """A place for one picture in a worker.

    Attributes:
        stopwatch: of the picture that is there now; None while idle.
    """

    def __init__(self, worker: "Worker", connection: Connection) -> None:
        self.worker = worker
        self.connection = connection
        self.stopwatch: Stopwatch | None = None

    def classify(self, data: bytes, options: PredictOptions) -> Result:
        """Return what is on a picture.

        Raises:
            HttpError: the picture cannot be used.
            WorkerExited: the worker had ended before it was given the picture.
            WorkerLost: it ended since, or was ended because it took too long.
        """
        answer = self._exchange(Job(data, options.thumbnail, options.top_k, options.explain))
        match answer:
            case Result():
                return answer
            case Rejected(detail, slug):
                self.worker.has_exited = slug == WorkerLost.slug  # it ends after saying so
                raise HTTP_ERRORS[slug](detail)
            case _:
                raise RuntimeError("a picture could not be classified: an entry above says why")

    def _exchange(self, job: Job) -> Message:
        self.stopwatch = Stopwatch()
        is_sent = False
        try:
            send(self.connection, job)
            is_sent = True
            return receive(self.connection)
        except (OSError, EOFError) as exc:
            self.worker.has_exited = True
            if is_sent or self.worker.is_overdue:
                raise self.worker.lost() from exc
            raise WorkerExited from exc
        finally:
            self.stopwatch = None


class Worker:
    """A process with one model; started at once, ready after ``wait_until_ready``.

    Attributes:
        number: 0 for the first of a model, which is preferred.
        slots: places for pictures.
        has_exited: whether it was found to have ended.
        is_overdue: whether it was ended because a picture took too long.
        precision: what it computes in, once it is ready.
        classes: how many it knows, once it is ready.
    """

    # Its connections close with the last reference to them: closed sooner, a thread that still
    # reads from one might read from whatever the system opens next.

    def __init__(
        self, settings: BackendSettings, model_id: str, *, number: int = 0, slots: int
    ) -> None:
        """Start the process; ``settings.threads`` compute one inference."""
        self.number = number
        self.has_exited = False
        self.is_overdue = False
        self.precision = settings.precision
        self.classes = 0
        self._limit_s = settings.predict_timeout_s
        self._load = Load(model_id, settings, slots)
        ours, theirs = zip(*(socket.socketpair() for _ in range(slots + 1)), strict=True)
        self._process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-m", PROGRAMS[settings.engine], *(str(s.fileno()) for s in theirs)],
            env={**os.environ, **HEAP},
            stdin=subprocess.DEVNULL,
            pass_fds=[end.fileno() for end in theirs],
            process_group=0,  # the terminal's interrupt is for the backend, which ends its workers
        )
        for end in theirs:
            end.close()
        self._control, *rest = (Connection(end.detach()) for end in ours)
        self.slots = [Slot(self, connection) for connection in rest]

    @property
    def pid(self) -> int:
        """Return the id of its process."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded.

        Raises:
            ModelError: it could not be loaded, or the process ended or took too long.
        """
        model = self._load.model
        try:
            send(self._control, self._load)
            if not self._control.poll(START_TIMEOUT_S):
                self._process.kill()
                raise ModelError(f"loading {model} took more than {START_TIMEOUT_S:.0f} s")
            answer = receive(self._control)
        except (OSError, EOFError) as exc:
            status = self._process.wait()
            raise ModelError(
                f"the worker that loaded {model} ended with status {status}: the log says why"
            ) from exc
        if isinstance(answer, Rejected):
            raise ModelError(answer.detail)
        assert isinstance(answer, Loaded), "a worker says that it is ready"  # noqa: S101
        self.precision, self.classes = answer.precision, answer.classes

    def is_stuck(self) -> bool:
        """Return whether each of its slots has been at one picture for suspiciously long."""
        limit_s = min(STUCK_S, self._limit_s)
        watches = [slot.stopwatch for slot in self.slots]
        return all(watch is not None and watch.elapsed_s > limit_s for watch in watches)

    def wait_until_exit(self) -> int:
        """Return the exit status once the process has ended; end it if a picture takes too long.

        Time is counted by ticks: on a machine that was frozen, the worker was frozen too.
        """
        tick_s = min(TICK_S, self._limit_s / 20)
        began_s = time.monotonic()
        while not self._control_closes_within(tick_s):
            began_s, passed_s = time.monotonic(), time.monotonic() - began_s
            self._add_time(min(passed_s, 2 * tick_s))
        return self._process.wait()

    def _add_time(self, passed_s: float) -> None:
        for watch in filter(None, [slot.stopwatch for slot in self.slots]):
            watch.elapsed_s += passed_s
            if watch.elapsed_s > self._limit_s:
                self.is_overdue = True
                self._process.kill()

    def lost(self) -> WorkerLost:
        """Return the error for a picture that this worker had."""
        what = f"took more than {self._limit_s:g} s" if self.is_overdue else "ended"
        return WorkerLost(
            f"the worker that had this picture {what} and is replaced: send the picture again"
        )

    def _control_closes_within(self, timeout_s: float) -> bool:
        try:
            return self._control.poll(timeout_s)
        except (OSError, EOFError):
            return True

    def end(self) -> None:
        """End the process, and return when its memory is free."""
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
