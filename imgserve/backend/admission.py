"""How many requests may be inside at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imgserve.errors import Busy


class Admission:
    """Lets in as many requests as may be computed and wait; refuses the rest at once.

    Waiting includes fetching a picture: that costs a thread, not a CPU.

    Attributes:
        capacity: requests that may be inside.
        inside: requests that are.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.inside = 0
        self._lock = threading.Lock()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one of the places inside.

        Raises:
            Busy: all places are taken.
        """
        with self._lock:
            if self.inside >= self.capacity:
                raise Busy(
                    f"{self.inside} requests are being answered or wait already: "
                    "try again in a second"
                )
            self.inside += 1
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1
