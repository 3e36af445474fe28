"""Several models in one process: loaded on first use, kept while they fit in memory.

No request ever changes which model another one gets: each names its own, and holds it while it is
used. A model that must leave is gone from the table at once, so that the next request for it loads
it anew, and its memory is freed when the last request that holds it ends.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic

from imgserve.contract import State
from imgserve.errors import NotReady, UnknownModel
from imgserve.models.loading_model import Loaded, LoadingModel
from imgserve.models.malloc import give_memory_back

log = logging.getLogger(__name__)

ROOM_WAIT_S = 30.0  # requests hold a model for as long as they compute, which is much less


@dataclass(eq=False)
class Held(Generic[Loaded]):
    """A model in the table, how many requests hold it and how much memory it takes."""

    model: LoadingModel[Loaded]
    users: int = 0
    size_bytes: int = 0


class ModelPool(Generic[Loaded]):
    """Models by id, each loaded at most once at a time.

    Attributes:
        ids: the models that may be asked for, the default first.
    """

    def __init__(
        self,
        ids: Sequence[str],
        prepare: Callable[[str], int],
        load: Callable[[str], Loaded],
        *,
        limit_bytes: int,
    ) -> None:
        """Start with no model loaded.

        Args:
            ids: the models that may be asked for, the default first.
            prepare: makes a model ready to be loaded; returns the bytes it will take.
            load: returns a prepared model by its id, warm.
            limit_bytes: memory for loaded models; one alone may take more.
        """
        self.ids = tuple(ids)
        self._prepare = prepare
        self._load = load
        self._limit_bytes = limit_bytes
        self._table: OrderedDict[str, Held[Loaded]] = OrderedDict()  # least recently used first
        self._leaving: list[tuple[str, Held[Loaded]]] = []
        self._changed = threading.Condition()
        self._one_load = threading.Lock()

    @contextmanager
    def using(self, model_id: str, timeout_s: float) -> Iterator[Loaded]:
        """Hold a model, loading it if need be; it stays in memory meanwhile.

        Raises:
            UnknownModel: it is none of ``ids``.
            NotReady: it is not loaded within so many seconds, or cannot be.
        """
        self.require(model_id)
        with self._changed:
            held = self._entry(model_id)
            held.users += 1
        try:
            yield held.model.get(timeout_s)
        finally:
            with self._changed:
                held.users -= 1
                self._changed.notify_all()

    def warm(self, model_id: str) -> None:
        """Begin to load a model, without waiting for it; errors as ``using``."""
        self.require(model_id)
        with self._changed:
            model = self._entry(model_id).model
        with suppress(NotReady):
            model.get()

    def state(self, model_id: str) -> tuple[State, str | None]:
        """Return a model's state, and why it could not be loaded where that was tried.

        Raises:
            UnknownModel: it is none of ``ids``.
        """
        self.require(model_id)
        with self._changed:
            held = self._table.get(model_id)
        return ("absent", None) if held is None else (held.model.state, held.model.failure)

    def ready_id(self) -> str:
        """Return a model that can predict now, the default if it is one.

        Raises:
            NotReady: none is loaded; the default is being loaded, if it can be.
        """
        for model_id in self.ids:
            if self.state(model_id)[0] == "ready":
                return model_id
        with self.using(self.ids[0], 0) as loaded:
            return loaded.model

    def require(self, model_id: str) -> None:
        """Refuse a model that is none of ``ids``.

        Raises:
            UnknownModel: it is none of them; the message lists them.
        """
        if model_id not in self.ids:
            raise UnknownModel(
                f"there is no model {model_id!r} here: choose one of {', '.join(self.ids)}"
            )

    def _entry(self, model_id: str) -> Held[Loaded]:
        """Return a model's place in the table, the most recently used now; begin to load it."""
        held = self._table.get(model_id)
        if held is None:
            held = Held(LoadingModel(model_id, lambda: self._loaded(model_id)))
            self._table[model_id] = held
        self._table.move_to_end(model_id)
        return held

    def _loaded(self, model_id: str) -> Loaded:
        """Return a model after making room for it; runs in the thread that loads it.

        One that must be compiled or downloaded first does not keep others waiting.
        """
        size_bytes = self._prepare(model_id)
        with self._one_load:
            with self._changed:
                self._make_room(model_id, size_bytes)
                self._table[model_id].size_bytes = size_bytes
            return self._load(model_id)

    def _make_room(self, model_id: str, size_bytes: int) -> None:
        """Let models leave until this one fits, then wait until their memory is free.

        Raises:
            NotReady: requests hold them for too long.
        """
        while self._taken_bytes() + size_bytes > self._limit_bytes:
            if not self._let_one_leave(besides=model_id):
                log.warning("model %s alone takes more than MODEL_MEMORY_MB", model_id)
                break
        if not self._changed.wait_for(self._none_leaving, ROOM_WAIT_S):
            raise NotReady("the memory is taken by models in use: try again in a moment")

    def _taken_bytes(self) -> int:
        return sum(held.size_bytes for held in self._table.values() if not held.model.failure)

    def _let_one_leave(self, *, besides: str) -> bool:
        """Take the least recently used model out of the table; return whether there was one.

        One that no request holds goes before one that must be waited for. One that was loaded a
        moment ago may go although its own thread has not called it ready yet.
        """
        others = [
            (model_id, held)
            for model_id, held in self._table.items()
            if model_id != besides and held.size_bytes and not held.model.failure
        ]
        if not others:
            return False
        model_id, _ = min(others, key=lambda each: each[1].users > 0)
        self._leaving.append((model_id, self._table.pop(model_id)))
        return True

    def _none_leaving(self) -> bool:
        """Free what no request holds any more; return whether all that leave are gone."""
        free = [model_id for model_id, held in self._leaving if held.users == 0]
        self._leaving = [(model_id, held) for model_id, held in self._leaving if held.users]
        if free:
            give_memory_back()
            log.info("model %s left memory", ", ".join(free))
        return not self._leaving
