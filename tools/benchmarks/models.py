"""Models to measure with: trained ones from packages, the others with random weights.

A model's speed does not depend on its weights, and a benchmark should need no model hub. This
module and ``torch_models`` are the only ones here that know how ``imgserve`` loads a model.
"""

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import product

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import CompiledModelInvalid
from imgserve.models.catalogue import EMBEDDED
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import INT8, read_info
from imgserve.settings import BackendSettings
from tools.benchmarks.plan import WEIGHTS, sample_photograph
from tools.benchmarks.programs import say
from tools.process import ROOT, Failed

AUTO = "auto"
COMPILED = WEIGHTS / "compiled"
LIMIT_PIXELS = 50_000_000


def is_compiled(model: str, precision: str) -> bool:
    try:
        read_info(COMPILED, model, BackendSettings(precision=precision).compiled_precision)
    except (FileNotFoundError, CompiledModelInvalid):
        return False
    return True


def available(model: str, precisions: Iterable[str] = (AUTO, INT8)) -> list[str]:
    """Return how a model can be served: as it comes, and in int8 where it is compiled."""
    return [precision for precision in precisions if is_compiled(model, precision)]


def load(model: str, precision: str, threads: int) -> Classifier:
    """Return a compiled model as a backend's worker runs it, warm."""
    from imgserve.models import openvino_engine  # here: a report needs no OpenVINO

    settings = BackendSettings(weights_dir=WEIGHTS, precision=precision, threads=threads)
    return openvino_engine.load(settings, model)


def predictions(classifier: Classifier, data: bytes) -> list[Prediction]:
    """Return the most probable classes of a picture's file, as a backend's worker does it."""
    return classifier.classify(data, PredictOptions(), limit_pixels=LIMIT_PIXELS).predictions


def ensure(models: Iterable[str], precisions: Iterable[str]) -> list[str]:
    """Compile what is not compiled yet; return a sentence for each model that cannot be."""
    wanted = [pair for pair in product(models, precisions) if not is_compiled(*pair)]
    return [reason for pair in wanted if (reason := _compile(*pair))]


@cache  # nothing is tried twice in one run
def _compile(model: str, precision: str) -> str:
    """Compile a model; return why that failed, if it did."""
    say(f"compiling {model}, {precision}")
    options = ["imgserve.compile", model, "--precision", precision, "--out", str(COMPILED)]
    if model not in EMBEDDED:
        options = ["tools.benchmarks.torch_models", model, precision, str(COMPILED)]
    command = [sys.executable, "-m", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    if not done.returncode:
        return ""
    last_line = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
    reason = f"{model} could not be compiled in {precision}: {last_line}"
    say(reason)
    return reason


def expected_category(model: str, precision: str) -> str:
    """Return the class of the sample photograph, which a server of this model should name."""
    if not is_compiled(model, precision):
        raise Failed(f"{model} has not been compiled in {precision}")
    return predictions(load(model, precision, 1), sample_photograph().read_bytes())[0].category
