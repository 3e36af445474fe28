"""How many requests may be inside at once, and how many bytes of pictures in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imgserve.contract import FORM_OVERHEAD_BYTES
from imgserve.errors import Busy, PictureTooLarge
from imgserve.units import mebibytes


class Held:
    """The bytes that one request holds: its body, or the picture that is fetched for it."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self._bytes = 0
        self._is_over = False

    def take(self, size: int) -> bool:
        """Hold more; return whether there is room."""
        with self._admission.lock:
            if self._is_over or not self._admission.fits(size):
                return False
            self._admission.held_bytes += size
            self._bytes += size
            return True

    def require(self, size: int) -> None:
        """Hold more; ``Busy`` says that there is no room."""
        if not self.take(size):
            raise self._admission.starved()

    def release(self) -> None:
        """Give everything back, and hold nothing again."""
        with self._admission.lock:
            self._admission.held_bytes -= self._bytes
            self._bytes = 0
            self._is_over = True


class Admission:
    """Lets in as many requests as may be computed and wait; refuses the rest at once.

    Waiting includes fetching a picture: that costs a thread, not a CPU. What is held are bytes of
    pictures that are received, fetched, wait or are computed, at most ``limit_bytes``, or what the
    body of one request may have: a picture of ``picture_bytes`` in a form.
    """

    def __init__(self, capacity: int, limit_bytes: int, picture_bytes: int) -> None:
        self.body_bytes = picture_bytes + FORM_OVERHEAD_BYTES
        self.inside = 0
        self.held_bytes = 0
        self.lock = threading.Lock()
        self._capacity = capacity
        self._limit_bytes = max(limit_bytes, self.body_bytes)
        self._picture_bytes = picture_bytes

    @contextmanager
    def admitted(self) -> Iterator[Held]:
        """Hold a place inside, and what is fetched meanwhile; ``Busy`` says there is no place."""
        with self.lock:
            self.require_place()
            self.inside += 1
        held = Held(self)
        try:
            yield held
        finally:
            held.release()
            with self.lock:
                self.inside -= 1

    def require_place(self) -> None:
        """Refuse a request where all places are taken; ``Busy`` says so."""
        if self.inside >= self._capacity:
            raise Busy(
                f"{self.inside} requests are being answered or wait already: try again in a second"
            )

    def require_size(self, size: int) -> None:
        """Refuse a body with more bytes than one may have; ``PictureTooLarge`` says so."""
        if size > self.body_bytes:
            raise PictureTooLarge(
                f"the request is larger than a picture of {mebibytes(self._picture_bytes)}: "
                "use a smaller one"
            )

    def fits(self, size: int) -> bool:
        return self.held_bytes + size <= self._limit_bytes

    def starved(self) -> Busy:
        """Return the error for a picture that does not fit into memory now."""
        return Busy(
            f"pictures that take {mebibytes(self.held_bytes)} are being received or wait already: "
            "try again in a second"
        )
