"""The models of a pool, and the one queue of those who wait for a slot of their workers."""

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from imgserve.contract import State
from imgserve.errors import Busy, ModelUnavailable, NotReady
from imgserve.machine import process_bytes
from imgserve.models.worker import Slot, Worker
from imgserve.settings import BackendSettings


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
        """Return what a caller may expect of it now."""
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
        """Return how much memory its workers take now."""
        return sum(process_bytes(worker.pid) for worker in self.workers)

    def close(self) -> None:
        """End its workers; one that is being started ends by itself."""
        self.is_closed = True
        for worker in tuple(self.workers):
            worker.end()


class SlotQueue:
    """Gives free slots to those who waited longest, at most ``THREADS`` at once."""

    def __init__(self, settings: BackendSettings, changed: threading.Condition) -> None:
        """Start empty; ``changed`` guards this queue and its models."""
        self.computing = 0  # slots in use
        self._settings = settings
        self._changed = changed
        self._waiting: dict[Future[Slot], Model] = {}

    @contextmanager
    def slot(self, model: Model) -> Iterator[Slot]:
        """Hold a slot of a model, once its turn has come.

        NotReady where the model is not loaded in time or could not be; Busy where none is free.
        """
        turn: Future[Slot] = Future()
        with self._changed:
            self._waiting[turn] = model
            self.hand_out()
        slot = self._wait(turn, model)
        try:
            yield slot
        finally:
            with self._changed:
                self.computing -= 1
                if not slot.worker.has_exited:
                    model.idle.append(slot)
                self.hand_out()

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

    def hand_out(self) -> None:
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
