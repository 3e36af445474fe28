"""Workers for tests, by ODD_WORKER: a model that does as its pictures say, or a real one."""

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from imgserve import errors
from imgserve.contract import Prediction, PredictOptions
from imgserve.models import worker_process
from imgserve.models.classifier import Classifier
from imgserve.models.worker import Result
from imgserve.settings import BackendSettings

KIND = os.environ.get("ODD_WORKER", "")
TOGETHER = threading.Barrier(3)  # breaks unless all three come
CAT = Result(
    [Prediction("cat", 281, 0.75), Prediction("größer", 1, 0.25)],
    decode_ms=1.5,
    preprocess_ms=0.25,
    inference_ms=9.0,
    incomplete=True,
    precision="int8",
    explanation=[[0.5, 1.0]],
)
told: list[Any] = []


class Obedient:
    """A model that answers with all that its process was told, as a thumbnail."""

    categories, precision = ("cat", "dog"), "bf16"

    def classify(self, data: bytes, options: PredictOptions, **limits: float) -> Result:
        match data.decode().split():
            case ["raise", name]:
                raise getattr(errors, name, ZeroDivisionError)("use another picture")
            case ["wait", path]:
                while not Path(path).exists():
                    time.sleep(0.01)
            case ["together"]:
                TOGETHER.wait(10)
            case ["end"]:
                os._exit(9)
        asked = [data.decode(), options.top_k, options.thumbnail, options.explain, limits]
        return msgspec.structs.replace(CAT, thumbnail=json.dumps([*told, *asked]))


def load(settings: BackendSettings, model_id: str) -> Any:
    if KIND in {"hungry", "tight"}:
        from imgserve.models import openvino_engine  # here: the others start sooner

        return openvino_engine.load(settings, model_id)
    if KIND == "without weights":
        raise errors.ModelError("no weights: try again")
    if KIND == "ending":
        os._exit(3)
    told.append([model_id, settings.log_level, logging.getLogger().level])
    told.append([str(Path("/proc/self/fd/0").readlink()), os.getpgrp() == os.getpid()])
    return Obedient()


def hungry(
    self: Any, data: bytes, options: Any, *, classify: Any = Classifier.classify, **limits: Any
) -> Any:
    if len(data) < 10_000:
        return [bytes(100_000_000) for _ in range(100)]
    return classify(self, data, options, **limits)


if __name__ == "__main__":
    limit_growth = worker_process.limit_growth
    if KIND == "hungry":
        Classifier.classify = hungry
    elif KIND == "tight":  # there is no memory for the pixels, and decoders call that damage
        worker_process.limit_growth = lambda _: limit_growth(worker_process.BYTES_A_SLOT)
    else:
        worker_process.limit_growth = told.append
        worker_process.give_back_large_blocks = lambda *sizes, heaps: told.append([*sizes, heaps])
    sys.exit(worker_process.main(load))
