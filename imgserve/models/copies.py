"""One model, as many times as it may compute at once, each copy in a process of its own.

Threads of one process would wait for each other: for the interpreter's lock, and at the end of each
layer that two of them compute together (tools/benchmarks/NOTES.md). What takes a process down takes only
what it computed just then.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from imgserve.contract import PredictOptions
from imgserve.errors import ModelError, NotReady
from imgserve.models.copy import Copy
from imgserve.models.loading import prepare
from imgserve.models.model import Computed, Model
from imgserve.settings import MIB, BackendSettings

log = logging.getLogger(__name__)

# A larger model computes for so long that the rest hardly counts: resnet152 in two copies answered
# 1.15 times as often, for 300 MB more.
SMALL_BYTES = 128 * MIB
# A copy that ended sooner is not started again at once: it may do so for ever.
PAUSE_S = 5.0


@dataclass(frozen=True)
class Lane:
    """One way to have a picture computed; the first copy's go before the second's."""

    number: int
    copy: Copy
    socket: socket.socket


class Copies:
    """A model in several processes, each started anew should it end.

    The first uses all threads for one inference: alone, a picture is answered soonest.

    Attributes:
        model: the model's id.
    """

    def __init__(self, settings: BackendSettings, model_id: str, *, copies: int) -> None:
        """Load the first copy; the others follow while it already computes.

        Raises:
            ModelError: the model cannot be had.
        """
        self.model = model_id
        self._settings = settings
        self._lanes_each = -(-settings.threads // copies)
        self._threads_each = settings.threads // copies
        self._running: set[Copy] = set()
        self._free: list[Lane] = []
        self._changed = threading.Condition()
        self._closed = False
        first = self._started(0)
        for number, copy in enumerate([first, *[None] * (copies - 1)]):
            threading.Thread(target=self._keep, args=(number, copy), daemon=True).start()

    def compute(self, data: bytes, options: PredictOptions) -> Computed:
        """Return what is on a picture; errors as ``Copy.compute``."""
        with self._lane() as lane:
            return lane.copy.compute(lane.socket, data, options)

    def check(self) -> None:
        """Do nothing where a copy is running.

        Raises:
            NotReady: none is.
        """
        with self._changed:
            if not self._running:
                raise NotReady(f"model {self.model} is being loaded again: try again in a moment")

    def close(self) -> None:
        """Let all processes end, and start no more."""
        with self._changed:
            self._closed = True
            running = list(self._running)
        for copy in running:
            copy.close()

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        """Hold a free lane, of the first copy if it has one."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free, self._settings.load_wait_s):
                raise NotReady(
                    f"model {self.model} is busy or being loaded again: try again in a moment"
                )
            lane = min(self._free, key=lambda each: each.number)
            self._free.remove(lane)
        try:
            yield lane
        finally:
            self._give_back([lane])

    def _give_back(self, lanes: list[Lane]) -> None:
        with self._changed:
            self._free += [lane for lane in lanes if not lane.copy.is_lost]
            self._changed.notify_all()

    def _started(self, number: int) -> Copy:
        """Return a loaded copy, whose lanes are free from now on; errors as __init__."""
        threads = self._settings.threads if number == 0 else self._threads_each
        settings = replace(self._settings, threads=threads, copies=None)
        copy = Copy(settings, self.model, lanes=self._lanes_each)
        try:
            copy.wait_until_loaded()
        except (ModelError, OSError):
            copy.close()
            raise
        with self._changed:
            self._running.add(copy)
            if self._closed:  # while it was loading
                copy.close()
        self._give_back([Lane(number, copy, each) for each in copy.lanes])
        return copy

    def _keep(self, number: int, copy: Copy | None) -> None:
        """Start a copy whenever it has ended, until all are closed."""
        while not self._closed:
            begun_s = time.monotonic()
            try:
                self._mourn(copy or self._started(number))
            except ModelError as exc:
                log.error("a copy of model %s could not be started: %s", self.model, exc)
            except Exception:  # whatever it is, the next try may do
                log.exception("a copy of model %s could not be started", self.model)
            copy = None
            if not self._closed and time.monotonic() - begun_s < PAUSE_S:
                time.sleep(PAUSE_S)

    def _mourn(self, copy: Copy) -> None:
        """Wait until a copy has ended, and let nobody have its lanes."""
        status = copy.ended()
        with self._changed:
            copy.is_lost = True  # a lane in use may be given back later
            self._running.discard(copy)
            self._free = [lane for lane in self._free if lane.copy is not copy]
        copy.close()
        if not self._closed:
            log.error("a copy of model %s ended with status %d", self.model, status)


def load_copies(settings: BackendSettings, model_id: str) -> Model:
    """Return a model, in as many copies as the settings say or as are worth their memory.

    Each copy with torch would hold torch as well.

    Raises:
        UnknownModel: the catalogue has no such model.
        ModelError: it cannot be had, compiled or read.
    """
    is_small = prepare(settings, model_id) <= SMALL_BYTES and settings.engine == "openvino"
    copies = settings.copies or (settings.threads if is_small else 1)
    return Copies(settings, model_id, copies=copies)
