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
    """One model of the pool, from the moment it begins to load until it is closed.

    Attributes:
        workers: those that are loaded and run.
        idle: free slots, of all its workers.
        users: requests that wait for it or are computed by it.
        is_open: whether it was loaded once; workers that end are replaced from then on.
        failure: why it could not be loaded.
    """

    id: str
    workers: list[Worker] = field(default_factory=list)
    idle: list[Slot] = field(default_factory=list)
    users: int = 0
    is_open: bool = False
    is_closed: bool = False
    failure: str | None = None
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

    def require_loadable(self) -> None:
        """Refuse a model that could not be loaded.

        Raises:
            ModelUnavailable: it could not; the message says why.
        """
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
