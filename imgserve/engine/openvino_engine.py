"""Run a compiled model with OpenVINO; imports neither torch nor torchvision."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from imgserve.engine.artefact import FP32, ModelInfo, read_info
from imgserve.engine.classifier import Classifier, Probabilities
from imgserve.engine.runtime import openvino
from imgserve.engine.transform import Crop

# Larger weights are not held a second time. Beside them a thread waits little for another:
# benchmarks/NOTES.md.
SMALL_BYTES = 100_000_000


class Inferences:
    """A graph compiled for so many inferences at once, which share the threads evenly.

    Numbers stay float32: on CPUs with matrix units OpenVINO would choose bfloat16 by itself, and
    answers would depend on the machine. Threads are not bound to cores: bound ones wait for a
    core that decodes a picture, while another is free.
    """

    def __init__(self, graph: Any, at_once: int, threads: int) -> None:
        options = {
            "NUM_STREAMS": at_once,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino.Core().compile_model(graph, "CPU", options)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(threads):
            self._free.put(compiled.create_infer_request())
        # The first inference prepares what all later ones use, and is slower.
        self(np.zeros(compiled.input(0).shape, dtype=np.uint8))

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (1, C) probabilities of one (1, H, W, 3) crop."""
        request = self._free.get()
        try:
            outputs = request.infer({0: crops}, share_inputs=True)
            probabilities: Probabilities = outputs[0]
            return probabilities
        finally:
            self._free.put(request)


class OpenVinoEngine:
    """A compiled graph, for one inference alone and for several at once.

    One picture alone uses all threads, so it is answered soonest. Those that come while another
    is inferred use a thread each: then no thread waits for another within a layer, which small
    models gain most by.
    """

    def __init__(self, graph: Path, *, threads: int) -> None:
        read = openvino.Core().read_model(graph)
        small = graph.with_suffix(".bin").stat().st_size <= SMALL_BYTES
        ways = (1, threads) if small and threads > 1 else (1,)
        with ThreadPoolExecutor() as pool:  # at the same time: a container is waited for
            made = list(pool.map(lambda at_once: Inferences(read, at_once, threads), ways))
        self._alone, self._together = made[0], made[-1]
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (1, C) probabilities of one (1, H, W, 3) crop."""
        with self._lock:
            inferences = self._together if self._running else self._alone
            self._running += 1
        try:
            return inferences(crops)
        finally:
            with self._lock:
                self._running -= 1


def load(folder: Path, model_id: str, *, threads: int, precision: str = FP32) -> Classifier:
    """Return a compiled model, ready to answer.

    Raises:
        FileNotFoundError: the model has not been compiled into this folder.
        ArtefactInvalid: its files are damaged or of another version.
    """
    info: ModelInfo = read_info(folder, model_id, precision)
    engine = OpenVinoEngine(folder / info.graph.name, threads=threads)
    return Classifier(info.model, info.categories, info.transform, engine)
