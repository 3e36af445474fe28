"""How many requests are let in, and how many of them compute at once."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from imgserve.errors import Busy


class Gate:
    """Lets in as many requests as may compute and wait; refuses the rest at once.

    Waiting includes fetching a picture: it costs a thread, not a CPU.

    Attributes:
        capacity: requests that may be inside.
    """

    def __init__(self, *, slots: int, max_queue: int) -> None:
        self.capacity = slots + max_queue
        self._inside = 0
        self._computing = 0
        self._lock = threading.Lock()
        self._slots = slots
        self._queue: deque[threading.Lock] = deque()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one of the places inside.

        Raises:
            Busy: all places are taken.
        """
        with self._lock:
            if self._inside >= self.capacity:
                raise Busy(
                    f"{self._inside} requests are being answered or wait already: "
                    "try again in a second"
                )
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the slots for computing; who waited longest is next."""
        self._take_slot()
        try:
            yield
        finally:
            self._give_slot()

    def _take_slot(self) -> None:
        with self._lock:
            if self._computing < self._slots:
                self._computing += 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        turn.acquire()  # until a slot is handed over

    def _give_slot(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._computing -= 1

    @property
    def waiting(self) -> int:
        """Return how many requests are inside and not computing."""
        with self._lock:
            return self._inside - self._computing

    @property
    def computing(self) -> int:
        """Return how many requests are computing."""
        return self._computing
