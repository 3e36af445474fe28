"""Run a compiled model with OpenVINO; imports neither torch nor torchvision."""

from pathlib import Path
from queue import SimpleQueue

from imgserve.models.classifier import Classifier, Probabilities
from imgserve.models.compiled_model import FP32, ModelInfo, read_info
from imgserve.models.openvino_import import openvino
from imgserve.models.transform import Crop


class OpenVinoEngine:
    """A compiled graph and as many inference requests as may run at once.

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
        compiled = core.compile_model(core.read_model(graph), "CPU", options)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(threads):
            self._free.put(compiled.create_infer_request())

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (1, C) probabilities of one (1, H, W, 3) crop."""
        request = self._free.get()
        try:
            outputs = request.infer({0: crops}, share_inputs=True)
            probabilities: Probabilities = outputs[0]
            return probabilities
        finally:
            self._free.put(request)


def load(folder: Path, model_id: str, *, threads: int, precision: str = FP32) -> Classifier:
    """Return a compiled model, ready to answer.

    Raises:
        FileNotFoundError: the model has not been compiled into this folder.
        ArtefactInvalid: its files are damaged or of another version.
    """
    info: ModelInfo = read_info(folder, model_id, precision)
    engine = OpenVinoEngine(folder / info.graph.name, threads=threads)
    return Classifier(info.model, info.categories, info.transform, engine)
