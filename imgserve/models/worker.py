"""A worker: a process that has loaded one model and classifies pictures with it; a model's workers.

This is the backend's side; ``worker_process`` is the other. Both talk over pairs of sockets: one
for control, which carries what to load, pickled, and then closes when either side ends, and one for
each picture that the worker computes at once. All else is MessagePack: a worker reads the files of
strangers, and what it says is not unpickled.
"""

import math
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe

import msgspec

from imgserve.contract import Prediction, PredictOptions, State
from imgserve.errors import ModelError, ModelUnavailable, NotReady, WorkerLost, http_errors
from imgserve.machine import process_bytes
from imgserve.settings import BackendSettings

# What runs a model, by ENGINE. Only a process of its own imports either.
PROGRAMS = {"openvino": "imgserve.models.worker_process", "torch": "imgserve.compile.torch_worker"}
START_TIMEOUT_S = 300.0  # large models load in seconds, from a slow disk in a minute
TICK_S = 1.0  # how often a worker's time is checked, at most
END_TIMEOUT_S = 2.0
STUCK_S = 5.0  # a worker that computes one picture for longer is not counted as ready


class Job(PredictOptions, frozen=True):
    data: bytes  # a picture's file


class Loaded(msgspec.Struct, tag=True, frozen=True):
    precision: str  # that it computes in
    classes: int


class Result(msgspec.Struct, tag=True, frozen=True):
    predictions: list[Prediction]  # as many as were asked for, most probable first
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    thumbnail: str | None = None  # JPEG data URI of what the model saw, where it was asked for
    incomplete: bool = False  # whether the end of the file is missing
    precision: str = "fp32"  # what was computed in
    explanation: list[list[float]] | None = None  # how much each place matters, likewise


class Rejected(msgspec.Struct, tag=True, frozen=True):
    """An error; ``slug`` names its class where that is an HttpError."""

    detail: str
    slug: str = ""


ENCODER = msgspec.msgpack.Encoder()
JOBS = msgspec.msgpack.Decoder(Job)
LOADED: msgspec.msgpack.Decoder[Loaded | Rejected] = msgspec.msgpack.Decoder(Loaded | Rejected)
RESULTS: msgspec.msgpack.Decoder[Result | Rejected] = msgspec.msgpack.Decoder(Result | Rejected)
HTTP_ERRORS = http_errors()


class WorkerExited(Exception):
    """A worker had ended before it was given a picture: another one can have it."""


class Slot:
    """A place for one picture in a worker."""

    def __init__(self, worker: "Worker", connection: Connection) -> None:
        self.worker = worker
        self.connection = connection
        self._began_s: float | None = None  # by the worker's clock; None while idle

    @property
    def elapsed_s(self) -> float:
        """Return how long the worker has been at the picture here, 0 while there is none."""
        began_s = self._began_s
        return 0.0 if began_s is None else self.worker.clock_s - began_s

    def classify(self, data: bytes, options: PredictOptions) -> Result:
        """Return what is on a picture.

        HttpError where the picture cannot be used; WorkerExited where the worker had ended before
        it was given the picture, WorkerLost where it ended since, or because it took too long.
        """
        job = Job(data, top_k=options.top_k, thumbnail=options.thumbnail, explain=options.explain)
        worker = self.worker
        self._began_s = worker.clock_s
        is_sent = False
        try:
            self.connection.send_bytes(ENCODER.encode(job))
            is_sent = True
            answer = RESULTS.decode(self.connection.recv_bytes())
        except (OSError, EOFError) as exc:
            worker.has_exited = True
            if not is_sent and not worker.is_overdue:
                raise WorkerExited from exc
            what = f"took more than {worker.limit_s:g} s" if worker.is_overdue else "ended"
            raise WorkerLost(
                f"the worker that had this picture {what} and is replaced: send the picture again"
            ) from exc
        finally:
            self._began_s = None
        if isinstance(answer, Rejected):
            worker.has_exited |= answer.slug == WorkerLost.slug  # it ends after saying so
            raise HTTP_ERRORS.get(answer.slug, RuntimeError)(answer.detail)
        return answer


class Worker:
    """A process that has loaded one model and computes ``slots`` pictures at once."""

    # Its connections close with the last reference to them: closed sooner, a thread that still
    # reads from one might read from whatever the system opens next.

    def __init__(
        self, settings: BackendSettings, model_id: str, *, number: int = 0, slots: int
    ) -> None:
        """Start the process and wait for the model; ``settings.threads`` compute one inference.

        ModelError where it could not be loaded, or the process ended or took too long.
        """
        self.number = number  # 0 for the first of a model, which is preferred
        self.limit_s = settings.predict_timeout_s  # for a picture
        self.clock_s = 0.0  # by ticks: on a machine that was frozen, the worker was frozen too
        self.has_exited = False  # also where nobody has noticed yet
        self.is_overdue = False  # whether it was ended because a picture took too long
        self._control, *connections = self._start(PROGRAMS[settings.engine], slots + 1)
        self.slots = [Slot(self, connection) for connection in connections]
        try:
            loaded = self._load(model_id, settings)
        except ModelError:
            self.end()
            raise
        self.precision, self.classes = loaded.precision, loaded.classes

    def _start(self, program: str, connections: int) -> list[Connection]:
        ours, theirs = zip(*(Pipe() for _ in range(connections)), strict=True)
        self._process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-m", program, *(str(end.fileno()) for end in theirs)],
            stdin=subprocess.DEVNULL,
            pass_fds=[end.fileno() for end in theirs],
            process_group=0,  # the terminal's interrupt is for the backend, which ends its workers
        )
        self.pid = self._process.pid
        for end in theirs:
            end.close()
        return list(ours)

    def _load(self, model_id: str, settings: BackendSettings) -> Loaded:
        try:
            self._control.send((model_id, settings))
            if not self._control.poll(START_TIMEOUT_S):
                raise ModelError(f"loading {model_id} took more than {START_TIMEOUT_S:.0f} s")
            answer = LOADED.decode(self._control.recv_bytes())
        except (OSError, EOFError) as exc:
            status = self._process.wait()
            raise ModelError(
                f"the worker that loaded {model_id} ended with status {status}: the log says why"
            ) from exc
        if isinstance(answer, Rejected):
            raise ModelError(answer.detail)
        return answer

    def is_stuck(self) -> bool:
        """Return whether each of its slots has been at one picture for suspiciously long."""
        return min(slot.elapsed_s for slot in self.slots) > min(STUCK_S, self.limit_s)

    def wait_until_exit(self) -> int:
        """Return the exit status once the process has ended; end it if a picture takes too long."""
        tick_s = min(TICK_S, self.limit_s / 20)
        began_s = time.monotonic()
        while not self._control.poll(tick_s):  # nothing comes but its end
            began_s, passed_s = time.monotonic(), time.monotonic() - began_s
            self.clock_s += min(passed_s, 2 * tick_s)
            if max(slot.elapsed_s for slot in self.slots) > self.limit_s:
                self.is_overdue = True
                self._process.kill()
        return self._process.wait()

    def end(self) -> None:
        """End the process, and return when its memory is free."""
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(eq=False)
class Model:
    """One model of the pool, from the moment it begins to load until it is closed."""

    id: str
    precision: str  # what it computes in, or what was asked for while that is not known
    classes: int | None = None  # how many it knows, from when it was loaded first
    copies: int = 1  # how many workers it should have; less where memory is short
    workers: list[Worker] = field(default_factory=list)  # those that are loaded and run
    idle: list[Slot] = field(default_factory=list)  # free ones, of all its workers
    users: int = 0  # requests that wait for it or are computed by it
    is_closed: bool = False
    failure: str | None = None  # why it could not be loaded
    retry_at_s: float = math.inf  # when that may be tried again

    @property
    def state(self) -> State:
        if self.failure is not None:
            return "absent"
        return "ready" if any(not worker.is_stuck() for worker in self.workers) else "loading"

    def not_ready(self) -> NotReady:
        """Return the error for a request that cannot have it now."""
        if self.failure is not None:
            again_s = max(1, math.ceil(self.retry_at_s - time.monotonic()))
            return ModelUnavailable(f"model {self.id} could not be loaded: {self.failure}", again_s)
        if self.classes is not None:
            return NotReady(f"model {self.id} is being loaded again: try again in a moment")
        return NotReady(f"model {self.id} is still loading: try again in a moment")

    def bytes(self) -> int:
        return sum(process_bytes(worker.pid) for worker in self.workers)

    def close(self) -> None:
        """End its workers; one that is being started ends by itself."""
        self.is_closed = True
        for worker in tuple(self.workers):
            worker.end()
