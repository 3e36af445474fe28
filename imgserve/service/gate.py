"""How many requests are let in, and how many of them compute at once."""

import threading
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
        self._slots = threading.Semaphore(slots)

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
        """Hold one of the slots for computing, waiting for it."""
        with self._slots:
            with self._lock:
                self._computing += 1
            try:
                yield
            finally:
                with self._lock:
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
