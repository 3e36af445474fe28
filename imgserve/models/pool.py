"""Models by id, each loaded into workers; one queue for the pictures of all of them.

A pool of one model is v1 and v3, a pool of several v2. No request changes which model another one
gets: each names its own, and a model that requests use or wait for is not closed under them. The
first worker of a model computes with all threads: alone, a picture is answered soonest. A small
model gets a worker for each thread, since threads of one process would wait for each other
(tools/benchmarks/NOTES.md).
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import ceil

from imgserve.contract import PredictOptions, State
from imgserve.errors import Busy, ImgserveError, ModelError, NotReady, UnknownModel
from imgserve.models.compiled_model import facts, prepare
from imgserve.models.worker import Model, Result, Slot, Worker, WorkerExited
from imgserve.settings import BackendSettings
from imgserve.units import MIB

log = logging.getLogger(__name__)

# Larger models compute for so long that the rest hardly counts: resnet152 in two workers answered
# 1.15 times as often, for 300 MB more.
SMALL_WEIGHTS_BYTES = 48 * MIB
PROCESS_BYTES = 64 * MIB  # what a worker takes beside its weights, before it was measured
RETRY_S = 60.0  # a model that could not be loaded is not tried again before
LEAST_LIFE_S = 1.0  # a worker that ended sooner, or did not start, is started again after a pause
RESTART_PAUSE_S = 5.0
ROOM_WAIT_S = 30.0  # requests hold a model while they compute, which is much less


class WorkerPool:
    """Loads models into workers and has pictures classified by them, first come, first served."""

    def __init__(
        self, settings: BackendSettings, ids: Sequence[str], *, limit_bytes: int | None = None
    ) -> None:
        """Begin to load the default model, the first.

        All workers together take ``limit_bytes`` of memory; one model alone may take more.
        """
        self.ids = tuple(ids)
        self.computing = 0  # pictures that are with a worker now, at most THREADS
        self._settings = settings
        self._limit_bytes = limit_bytes
        self._models: OrderedDict[str, Model] = OrderedDict()  # least recently used first
        self._leaving: list[Model] = []
        self._waiting: dict[Future[Slot], Model] = {}  # who waits for a slot, the longest first
        self._changed = threading.Condition()  # guards the three above and their models
        self._one_load = threading.Lock()
        self.warm(self.ids[0])

    def classify(self, model_id: str, data: bytes, options: PredictOptions) -> Result:
        """Return what is on a picture's file.

        UnknownModel where the model is none of ``ids``, NotReady where it is not loaded in time or
        could not be, Busy where no worker was free in time; else HttpError where the picture cannot
        be used or its worker was lost.
        """
        with self._changed:
            model = self._used(model_id)
            model.users += 1  # nobody closes it meanwhile
        try:
            while True:
                with self._slot(model) as slot, suppress(WorkerExited):
                    return slot.classify(data, options)
        finally:
            with self._changed:
                model.users -= 1
                self._changed.notify_all()

    def warm(self, model_id: str) -> None:
        """Begin to load a model, without waiting for it; UnknownModel if it is none of ``ids``."""
        with self._changed:
            self._used(model_id)

    def state(self, model_id: str) -> tuple[State, str | None, str]:
        """Return a model's state, why it could not be loaded, and what it computes in."""
        self.require(model_id)
        with self._changed:
            if model := self._models.get(model_id):
                return model.state, model.failure, model.precision
        return "absent", None, self._settings.precision

    def classes(self, model_id: str) -> int | None:
        """Return how many classes a model knows; None where compiling finds that out."""
        model = self._models.get(model_id)
        return (model and model.classes) or facts(self._settings, model_id).classes

    def ready_id(self) -> str:
        """Return a model that can classify now, the default if it can; NotReady where none can."""
        for model_id in self.ids:
            if self.state(model_id)[0] == "ready":
                return model_id
        with self._changed:
            raise self._used(self.ids[0]).not_ready()

    def require(self, model_id: str) -> None:
        """Raise UnknownModel, with a list of ``ids``, for a model that is none of them."""
        if model_id not in self.ids:
            known = ", ".join(self.ids)
            raise UnknownModel(f"there is no model {model_id!r} here: choose one of {known}")

    def close(self) -> None:
        """End all workers, and start no more."""
        with self._changed:
            models = [*self._models.values(), *self._leaving]
        for model in models:
            model.close()

    # --- loading ---------------------------------------------------------------------------------

    def _used(self, model_id: str) -> Model:
        """Return a model, the most recently used from now on; begin to load it if need be."""
        self.require(model_id)
        model = self._models.get(model_id)
        if model is None or time.monotonic() >= model.retry_at_s:
            model = self._models[model_id] = Model(model_id, self._settings.precision)
            _in_thread(self._load, model)
        self._models.move_to_end(model_id)
        return model

    def _load(self, model: Model) -> None:
        began_s = time.monotonic()
        try:
            weights_bytes = prepare(self._settings, model.id)  # others need not wait for this
            with self._one_load:
                self._make_room(model, weights_bytes + PROCESS_BYTES)
                self._open(model, weights_bytes)
            log.info("model %s loaded in %.2f s", model.id, time.monotonic() - began_s)
        except Exception as exc:
            is_ours = isinstance(exc, ImgserveError)
            log.error("model %s could not be loaded: %s", model.id, exc, exc_info=not is_ours)
            with self._changed:  # words that are not ours may tell strangers too much
                model.failure = str(exc) if is_ours else "the log says why"
                pause_s = 0.0 if isinstance(exc, NotReady) else RETRY_S
                model.retry_at_s = time.monotonic() + pause_s
                self._hand_out()

    def _open(self, model: Model, weights_bytes: int) -> None:
        """Start a model's workers; it is ready after the first. Errors as ``Worker``."""
        is_small = weights_bytes <= SMALL_WEIGHTS_BYTES and self._settings.engine == "openvino"
        model.copies = self._settings.copies or (self._settings.threads if is_small else 1)
        _in_thread(self._supervise, model, 0, self._start(model, 0))
        with suppress(NotReady):  # it is there already: those in use leave as soon as they can
            self._make_room(model, 0)  # what it really takes is known only now
        count = model.copies
        if self._limit_bytes is not None:  # as many as fit without closing other models
            left = max(0, self._limit_bytes - self._taken())
            count = min(count, 1 + left // max(1, model.bytes()))
        for number in range(1, count):
            _in_thread(self._supervise, model, number)

    def _start(self, model: Model, number: int) -> Worker:
        """Return a worker, whose slots are free from now on; errors as its own."""
        threads, copies = self._settings.threads, model.copies
        share = threads if number == 0 else threads // copies
        settings = replace(self._settings, threads=share, copies=None)
        worker = Worker(settings, model.id, number=number, slots=ceil(threads / copies))
        with self._changed:
            model.precision, model.classes = worker.precision, worker.classes
            model.workers.append(worker)
            model.idle += worker.slots
            self._hand_out()
        if model.is_closed:  # while it was loading
            worker.end()
        return worker

    def _supervise(self, model: Model, number: int, worker: Worker | None = None) -> None:
        """Start a worker whenever it has ended, until the model is closed."""
        while not model.is_closed:
            pause_s = RESTART_PAUSE_S
            try:
                worker = worker or self._start(model, number)
                began_s = time.monotonic()
                status = worker.wait_until_exit()
                with self._changed:  # nobody has its slots any more; one in use is given back later
                    worker.has_exited = True
                    model.workers.remove(worker)
                    model.idle = [slot for slot in model.idle if slot.worker is not worker]
                if not model.is_closed:
                    log.error("a worker of model %s ended with status %d", model.id, status)
                if time.monotonic() - began_s >= LEAST_LIFE_S:
                    pause_s = 0.0
            except Exception as exc:  # whatever it is, the next try may do
                said = "a worker of model %s could not be started: %s"
                log.error(said, model.id, exc, exc_info=not isinstance(exc, ModelError))
            worker = None
            time.sleep(pause_s)

    # --- the queue -------------------------------------------------------------------------------

    @contextmanager
    def _slot(self, model: Model) -> Iterator[Slot]:
        """Hold a slot of a model, once its turn has come; errors as ``classify``."""
        turn: Future[Slot] = Future()
        with self._changed:
            self._waiting[turn] = model
            self._hand_out()
        slot = self._wait(turn, model)
        try:
            yield slot
        finally:
            with self._changed:
                self.computing -= 1
                if not slot.worker.has_exited:
                    model.idle.append(slot)
                self._hand_out()

    def _wait(self, turn: Future[Slot], model: Model) -> Slot:
        for timeout_s in (self._settings.load_wait_s, self._settings.predict_timeout_s):
            try:
                return turn.result(timeout_s)
            except TimeoutError:
                if not model.workers:  # else it only has to wait for others
                    break
        with self._changed:
            if self._waiting.pop(turn, None) is None:  # it came meanwhile
                return turn.result()
            if model.workers:
                raise Busy("no worker was free in time: try again in a second")
            raise model.not_ready()

    def _hand_out(self) -> None:
        """Give free slots to those who waited longest; a model's first worker goes first.

        Those whose model could not be loaded are told so. Called with ``changed`` held.
        """
        for turn, model in tuple(self._waiting.items()):
            if model.failure is not None:
                turn.set_exception(model.not_ready())
            elif model.idle and self.computing < self._settings.threads:
                slot = min(model.idle, key=lambda slot: slot.worker.number)
                model.idle.remove(slot)
                self.computing += 1
                turn.set_result(slot)
            else:
                continue
            del self._waiting[turn]

    # --- memory ----------------------------------------------------------------------------------

    def _taken(self) -> int:
        with self._changed:
            models = tuple(self._models.values())
        return sum(model.bytes() for model in models)

    def _make_room(self, model: Model, size_bytes: int) -> None:
        """Close models until so much more fits, the least recently used first.

        One that no request uses goes before one that must be waited for. NotReady where that takes
        too long.
        """
        while self._limit_bytes is not None and self._taken() + size_bytes > self._limit_bytes:
            with self._changed:
                others = [m for m in self._models.values() if m is not model and m.workers]
                if not others:
                    log.warning("model %s alone takes more than MODEL_MEMORY_MB", model.id)
                    break
                leaving = self._models.pop(min(others, key=lambda other: other.users > 0).id)
                self._leaving.append(leaving)
            _in_thread(self._close_when_unused, leaving)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._leaving, ROOM_WAIT_S):
                raise NotReady("the memory is taken by models in use: try again in a moment")

    def _close_when_unused(self, model: Model) -> None:
        with self._changed:
            self._changed.wait_for(lambda: model.users == 0)
        model.close()
        with self._changed:
            self._leaving.remove(model)
            self._changed.notify_all()
        log.info("model %s left memory", model.id)


def _in_thread(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()
