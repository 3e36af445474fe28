"""The one queue of a backend: requests that wait for a slot of a worker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imgserve.errors import Busy
from imgserve.models.model import Model
from imgserve.models.worker import Slot
from imgserve.settings import BackendSettings


class Waiter:
    """A request in the queue; its turn comes with a slot, or without one if the model failed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.slot: Slot | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    def let_go(self, slot: Slot | None = None) -> None:
        """End the wait."""
        self.slot = slot
        self._turn.release()

    def wait(self, timeout_s: float) -> bool:
        """Return whether the turn came within so many seconds."""
        return self._turn.acquire(timeout=timeout_s)


class SlotQueue:
    """Gives free slots to those who waited longest, at most ``THREADS`` at once."""

    def __init__(self, settings: BackendSettings, changed: threading.Condition) -> None:
        """Start empty; ``changed`` guards this queue, its models, and tells of their users."""
        self.computing = 0  # slots in use
        self._settings = settings
        self._changed = changed
        self._waiting: list[Waiter] = []

    def join(self, model: Model) -> Waiter:
        """Return a place in the queue for a model's slot; ``changed`` is held.

        ModelUnavailable where the model could not be loaded.
        """
        model.require_loadable()
        model.users += 1
        waiter = Waiter(model)
        self._waiting.append(waiter)
        self.hand_out()
        return waiter

    @contextmanager
    def slot(self, waiter: Waiter) -> Iterator[Slot]:
        """Hold a slot of the waiter's model, once its turn has come.

        NotReady where the model is not loaded in time or could not be; Busy where none is free.
        """
        try:
            slot = self._wait(waiter)
            try:
                yield slot
            finally:
                self._give_back(waiter.model, slot)
        finally:
            with self._changed:
                waiter.model.users -= 1
                self._changed.notify_all()

    def _wait(self, waiter: Waiter) -> Slot:
        model = waiter.model
        came = waiter.wait(self._settings.load_wait_s)
        if not came and model.workers:  # it only has to wait for others
            came = waiter.wait(self._settings.predict_timeout_s)
        with self._changed:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                if model.workers:
                    raise Busy("no worker was free in time: try again in a second")
                raise model.not_ready()
            if waiter.slot is not None:
                return waiter.slot
            model.require_loadable()
            raise model.not_ready()

    def _give_back(self, model: Model, slot: Slot) -> None:
        with self._changed:
            self.computing -= 1
            if not slot.worker.has_exited:
                model.idle.append(slot)
            self.hand_out()

    def hand_out(self) -> None:
        """Give free slots to those who waited longest; a model's first worker goes first.

        Called with ``changed`` held.
        """
        for waiter in tuple(self._waiting):
            if self.computing >= self._settings.threads:
                return
            idle = waiter.model.idle
            if idle:
                slot = min(idle, key=lambda slot: slot.worker.number)
                idle.remove(slot)
                self._waiting.remove(waiter)
                self.computing += 1
                waiter.let_go(slot)

    def let_go(self, model: Model) -> None:
        """End the wait of all who wait for a model, without a slot; ``changed`` is held."""
        for waiter in [waiter for waiter in self._waiting if waiter.model is model]:
            self._waiting.remove(waiter)
            waiter.let_go()
