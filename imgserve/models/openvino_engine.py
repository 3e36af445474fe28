"""Run a compiled model with OpenVINO; imports neither torch nor torchvision.

Import openvino through this module. openvino reports each conversion to its makers unless told
otherwise. It does without the package that reports where that cannot be imported, so its import is
barred here, before openvino's. Likewise it does without its converter, a fifth of its import time,
which serving never needs: that may be imported afterwards, as ``openvino.tools.ovc``.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imgserve.errors import ModelError
from imgserve.models.classifier import Classifier, Crop, Probabilities
from imgserve.models.compiled_model import FP32, check_content, compiled_folder, read_info
from imgserve.settings import BackendSettings

# None bars an import.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]

import openvino as openvino  # noqa: E402, PLC0414  the bars come first; others import it from here

del sys.modules["openvino.tools.ovc"]

AUTO, BF16 = "auto", "bf16"


class OpenVinoEngine:
    """A compiled graph, which may be asked by several threads at once.

    One picture uses all threads (one stream): alone it is answered soonest, and while one is
    inferred the next is decoded. Threads are not bound to cores: a bound one waits for the core
    that decodes a picture while another is free. ``precision`` is what it computes in, ``fp32``,
    ``bf16`` or ``int8``.
    """

    def __init__(self, graph: Path, *, threads: int, precision: str = FP32) -> None:
        """Compile a graph; ModelError where this CPU has no instructions for this precision."""
        core = openvino.Core()
        self.precision = _computed(core, precision)
        options = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == BF16 else "f32",
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


def _computed(core: Any, precision: str) -> str:
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == AUTO:
        return BF16 if has_bf16 else FP32
    if precision == BF16 and not has_bf16:
        raise ModelError(
            "PRECISION='bf16' cannot be used: this CPU has no instructions for it; "
            "use auto, which takes them where they are"
        )
    return precision


def load(settings: BackendSettings, model_id: str) -> Classifier:
    """Return a compiled model, warm; FileNotFoundError where it is not compiled for these settings.

    ModelError where its files are damaged or of another version, or this CPU cannot compute so.
    """
    folder = compiled_folder(settings)
    info = read_info(folder, model_id, settings.compiled_precision)
    graph = folder / info.graph.name
    with ThreadPoolExecutor(1) as beside:  # another core reads the files meanwhile
        checked = beside.submit(check_content, folder, info)
        try:
            engine = OpenVinoEngine(graph, threads=settings.threads, precision=settings.precision)
            classifier = Classifier(info.categories, info.transform, engine, engine.precision)
            classifier.warm_up()
        finally:
            checked.result()  # of damaged files OpenVINO itself says less
    return classifier
