"""Models to measure with: trained ones from packages, the others with random weights.

A model's speed does not depend on its weights, and a benchmark needs no model hub.
"""

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from imgserve.errors import ArtefactInvalid
from imgserve.models import compiled_model as artefact
from imgserve.models import loading
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import PRECISIONS
from imgserve.settings import BackendSettings
from tools.benchmarks.places import ROOT, WEIGHTS
from tools.benchmarks.plan import EMBEDDED
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.say import say

COMPILE_S = 900
RANDOM = WEIGHTS / "random"


def available(model: str) -> tuple[str, ...]:
    """Return the precisions that a model has been compiled in here."""
    return tuple(each for each in PRECISIONS if _is_there(model, each))


def _is_there(model: str, precision: str) -> bool:
    try:
        artefact.read_info(loading.compiled_folder(settings(precision)), model, precision)
    except (FileNotFoundError, ArtefactInvalid):
        return False
    return True


def environ(precision: str, *, threads: int = 2, engine: str = "openvino") -> dict[str, str]:
    """Return the variables with which a backend of ours uses the benchmark's models."""
    return {
        "WEIGHTS_DIR": str(WEIGHTS),
        "PRECISION": precision,
        "ENGINE": engine,
        "THREADS": str(threads),
    }


def settings(precision: str, *, threads: int = 2, engine: str = "openvino") -> BackendSettings:
    """Return the same as settings."""
    return BackendSettings.from_environ(environ(precision, threads=threads, engine=engine))


def graph(model: str, precision: str) -> Path:
    """Return where a compiled model's graph is."""
    folder = loading.compiled_folder(settings(precision))
    return folder / artefact.parse_info(folder, model, precision).graph.name


def load(model: str, precision: str, engine: str, threads: int) -> Classifier:
    """Return a model, warm."""
    if engine == "torch" and model not in EMBEDDED:
        from tools.benchmarks.random_weights import (
            torch_classifier,  # torch only where it is asked for
        )

        classifier = torch_classifier(RANDOM, model, threads)
        classifier.warm_up()
        return classifier
    return loading.load(settings(precision, threads=threads, engine=engine), model)


@cache
def _tried(model: str, precision: str) -> str:
    """Compile a model; return why it cannot be had, if so. Nothing is tried twice in one run."""
    try:
        _compile(model, precision)
    except Failed as exc:
        say(str(exc))
        return str(exc)
    return ""


def ensure(models: Iterable[str], wanted: Iterable[str] = ("fp32",)) -> list[str]:
    """Compile what is not compiled yet; return a sentence for each that cannot be."""
    absent = [
        (model, precision)
        for model in models
        for precision in wanted
        if not _is_there(model, precision)
    ]
    return [reason for each in absent if (reason := _tried(*each))]


def _compile(model: str, precision: str) -> None:
    folder = loading.compiled_folder(settings(precision))
    say(f"compiling {model}, {precision}")
    module = "imgserve.compile" if model in EMBEDDED else "tools.benchmarks.random_weights"
    command = [sys.executable, "-m", module, model, "--out", str(folder)]
    if precision != "fp32":
        command += ["--precision", precision]
    if model not in EMBEDDED:
        command += ["--keep", str(RANDOM)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=COMPILE_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise Failed(f"{model} cannot be had in {precision}: {last}")
