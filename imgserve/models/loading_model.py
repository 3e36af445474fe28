"""A model that is loaded while the service already answers that it is not ready."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from imgserve.contract import State
from imgserve.errors import ImgserveError, ModelUnavailable, NotReady

log = logging.getLogger(__name__)

RETRY_S = 60.0  # a model that could not be loaded is not tried again before


class Named(Protocol):
    """Whatever a model is once it is loaded."""

    @property
    def model(self) -> str:
        """Return the model's id."""
        ...


Loaded = TypeVar("Loaded", bound=Named)


class LoadingModel(Generic[Loaded]):
    """A model being loaded in a thread of its own, from the moment this is made.

    If that fails, the next request after a pause tries again: a network's fault may pass.
    """

    def __init__(self, model_id: str, load: Callable[[], Loaded]) -> None:
        self.model = model_id
        self._load = load
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._loaded: Loaded | None = None
        self._failure: str | None = None
        self._failed_at_s = self._pause_s = 0.0
        self._done = threading.Event()
        threading.Thread(target=self._run, name=f"load-{self.model}", daemon=True).start()

    def _run(self) -> None:
        started_s = time.perf_counter()
        try:
            self._loaded = self._load()
            log.info("model %s loaded in %.2f s", self.model, time.perf_counter() - started_s)
        except ImgserveError as exc:
            log.error("model %s could not be loaded: %s", self.model, exc)
            self._fail(str(exc), 0.0 if isinstance(exc, NotReady) else RETRY_S)
        except Exception:  # whatever it is: words that are not ours may tell strangers too much
            log.exception("model %s could not be loaded", self.model)
            self._fail("the log says why", RETRY_S)
        finally:
            self._done.set()

    def _fail(self, reason: str, pause_s: float) -> None:
        self._failed_at_s = time.monotonic()
        self._pause_s = pause_s
        self._failure = reason

    @contextmanager
    def using(self, timeout_s: float) -> Iterator[Loaded]:
        """Hold the model while it is used; errors as ``get``."""
        yield self.get(timeout_s)

    @property
    def state(self) -> State:
        """Return whether it is loaded; one that could not be loaded is absent."""
        if not self._done.is_set():
            return "loading"
        return "absent" if self._loaded is None else "ready"

    @property
    def failure(self) -> str | None:
        """Return why it could not be loaded, if that was tried and failed."""
        return self._failure

    def get(self, timeout_s: float = 0.0) -> Loaded:
        """Return the model, waiting for it at most so long.

        Raises:
            NotReady: it is still loading.
            ModelUnavailable: it could not be loaded.
        """
        with self._lock:
            if self._failure is not None and self._remaining_s() <= 0:
                self._begin()
        self._done.wait(timeout_s)
        if self._loaded is not None:
            return self._loaded
        if self._failure is not None:
            again_s = max(1, math.ceil(self._remaining_s()))
            failed = f"model {self.model} could not be loaded: {self._failure}"
            raise ModelUnavailable(failed, again_s)
        raise NotReady(f"model {self.model} is still loading: try again in a moment")

    def _remaining_s(self) -> float:
        return self._failed_at_s + self._pause_s - time.monotonic()
