"""One model of a pool."""

import math
import time
from dataclasses import dataclass, field

from imgserve.contract import State
from imgserve.errors import ModelUnavailable, NotReady
from imgserve.machine import process_bytes
from imgserve.models.worker import Slot, Worker


@dataclass(eq=False)
class Model:
    """One model of the pool, from the moment it begins to load until it is closed."""

    id: str
    workers: list[Worker] = field(default_factory=list)  # those that are loaded and run
    idle: list[Slot] = field(default_factory=list)  # free ones, of all its workers
    users: int = 0  # requests that wait for it or are computed by it
    is_open: bool = False  # was loaded once; workers that end are replaced from then on
    is_closed: bool = False
    failure: str | None = None  # why it could not be loaded
    retry_at_s: float = 0.0

    @property
    def state(self) -> State:
        """Return what a caller may expect of it now."""
        if self.failure is not None:
            return "absent"
        return "ready" if any(not worker.is_stuck() for worker in self.workers) else "loading"

    @property
    def precision(self) -> str:
        """Return what it computes in, nothing while it is not loaded."""
        return self.workers[0].precision if self.workers else ""

    @property
    def classes(self) -> int | None:
        """Return how many classes it knows, None while it is not loaded."""
        return self.workers[0].classes if self.workers else None

    def require_loadable(self) -> None:
        """Raise ModelUnavailable, which says why, where it could not be loaded."""
        if self.failure is not None:
            again_s = max(1, math.ceil(self.retry_at_s - time.monotonic()))
            raise ModelUnavailable(f"model {self.id} could not be loaded: {self.failure}", again_s)

    def not_ready(self) -> NotReady:
        """Return the error for a request that waited for it in vain."""
        if self.is_open:
            return NotReady(f"model {self.id} is being loaded again: try again in a moment")
        return NotReady(f"model {self.id} is still loading: try again in a moment")

    def bytes(self) -> int:
        """Return how much memory its workers take now."""
        return sum(process_bytes(worker.pid) for worker in self.workers)
