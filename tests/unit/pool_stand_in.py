"""A pool whose models compute in this process, for tests of what stands before it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from imgserve.contract import PredictOptions, State
from imgserve.errors import HttpError
from imgserve.models.classifier import Classifier, Crop
from imgserve.models.compiled_model import Transform
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Result

TRANSFORM = Transform(36, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Respond = Callable[[Crop], np.ndarray]


@dataclass
class PoolStandIn:
    """Models by id, the default first; those in ``failures`` answer that instead."""

    classifiers: Mapping[str, Classifier]
    limit_pixels: int = 1_000_000
    failures: dict[str, HttpError] = field(default_factory=dict)
    warmed: list[str] = field(default_factory=list)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(8))
    computing: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.classifiers)

    require = WorkerPool.require

    def warm(self, model_id: str) -> None:
        self.require(model_id)
        self.warmed.append(model_id)

    def state(self, model_id: str) -> tuple[State, str | None, str]:
        self.require(model_id)
        failure = self.failures.get(model_id)
        return ("absent", str(failure), "auto") if failure else ("ready", None, "fp32")

    def classes(self, model_id: str) -> int:
        return len(self.classifiers[model_id].categories)

    def ready_id(self) -> str:
        for model_id in self.ids:
            if model_id not in self.failures:
                return model_id
        raise self.failures[self.ids[0]]

    def classify(self, model_id: str, data: bytes, options: PredictOptions) -> Result:
        self.require(model_id)
        if failure := self.failures.get(model_id):
            raise failure
        with self.slots:
            self.computing += 1
            classify = self.classifiers[model_id].classify
            result = classify(data, options, limit_pixels=self.limit_pixels)
            self.computing -= 1
            return result


def classifier(categories: list[str], respond: Respond) -> Classifier:
    """Return a model around a function that stands in for the engine."""
    return Classifier(categories, TRANSFORM, respond)


def named_after_itself(*ids: str) -> dict[str, Classifier]:
    """Return models that see nothing but their own name."""
    rows = np.eye(len(ids))[:, np.newaxis]
    return {
        name: classifier(list(ids), lambda _, row=row: row)
        for name, row in zip(ids, rows, strict=True)
    }


@dataclass
class Gate:
    """Holds whoever comes until it is opened; ``came`` says that somebody is there."""

    came: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def pass_through(self) -> None:
        """Wait until the gate is open."""
        self.came.set()
        assert self.opened.wait(10), "nobody opened"
