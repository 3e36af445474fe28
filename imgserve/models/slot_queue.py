"""The one queue of a backend: requests that wait for a slot of a worker."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from imgserve.errors import Busy
from imgserve.models.model import Model
from imgserve.models.worker import Slot
from imgserve.settings import BackendSettings


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
            if model.failure is not None:
                raise model.not_ready()
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

        Called with ``changed`` held.
        """
        for turn, model in tuple(self._waiting.items()):
            if self.computing >= self._settings.threads:
                return
            if model.idle:
                slot = min(model.idle, key=lambda slot: slot.worker.number)
                model.idle.remove(slot)
                del self._waiting[turn]
                self.computing += 1
                turn.set_result(slot)

    def refuse(self, model: Model) -> None:
        """Tell all who wait for a model that it could not be loaded; ``changed`` is held."""
        for turn in [turn for turn, awaited in self._waiting.items() if awaited is model]:
            del self._waiting[turn]
            turn.set_exception(model.not_ready())
