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
    precision: str  # what it computes in, or what was asked for while that is not known
    classes: int | None = None  # how many it knows, from when it was loaded first
    copies: int = 1  # how many workers it should have; less where memory is short
    workers: list[Worker] = field(default_factory=list)  # those that are loaded and run
    idle: list[Slot] = field(default_factory=list)  # free ones, of all its workers
    users: int = 0  # requests that wait for it or are computed by it
    is_closed: bool = False
    failure: str | None = None  # why it could not be loaded
    retry_at_s: float = math.inf  # when that may be tried again

    @property
    def state(self) -> State:
        """Return what a caller may expect of it now."""
        if self.failure is not None:
            return "absent"
        return "ready" if any(not worker.is_stuck() for worker in self.workers) else "loading"

    def not_ready(self) -> NotReady:
        """Return the error for a request that cannot have it now."""
        if self.failure is not None:
            again_s = max(1, math.ceil(self.retry_at_s - time.monotonic()))
            return ModelUnavailable(f"model {self.id} could not be loaded: {self.failure}", again_s)
        doing = "still loading" if self.classes is None else "being loaded again"
        return NotReady(f"model {self.id} is {doing}: try again in a moment")

    def bytes(self) -> int:
        """Return how much memory its workers take now."""
        return sum(process_bytes(worker.pid) for worker in self.workers)
