"""Run a compiled model with OpenVINO; imports neither torch nor torchvision."""

from pathlib import Path
from typing import Any

from imgserve.models.classifier import Classifier, Probabilities
from imgserve.models.compiled_model import read_info
from imgserve.models.loading import compiled_folder
from imgserve.models.openvino_import import openvino
from imgserve.models.transform import Crop
from imgserve.settings import BackendSettings


class OpenVinoEngine:
    """A compiled graph, which may be asked by several threads at once.

    One picture uses all threads (one stream): alone it is answered soonest, and while one is
    inferred the next is decoded. Threads are not bound to cores: a bound one waits for the core
    that decodes a picture while another is free. Numbers stay float32: on CPUs with matrix units
    OpenVINO would choose bfloat16 by itself, and answers would depend on the machine.
    """

    def __init__(self, graph: Path, *, threads: int) -> None:
        core = openvino.Core()
        options = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = core.compile_model(core.read_model(graph), "CPU", options)
        self._idle: list[Any] = []  # inference requests: each holds the numbers between its layers

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (1, C) probabilities of one (1, H, W, 3) crop."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        probabilities: Probabilities = request.infer({0: crops}, share_inputs=True)[0]
        self._idle.append(request)
        return probabilities


def load(settings: BackendSettings, model_id: str) -> Classifier:
    """Return a compiled model, warm.

    Raises:
        FileNotFoundError: the model has not been compiled for these settings.
        CompiledModelInvalid: its files are damaged or of another version.
    """
    folder = compiled_folder(settings)
    info = read_info(folder, model_id, settings.precision)
    engine = OpenVinoEngine(folder / info.graph.name, threads=settings.threads)
    classifier = Classifier(info.model, info.categories, info.transform, engine)
    classifier.warm_up()
    return classifier
