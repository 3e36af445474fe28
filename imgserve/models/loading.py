"""Load a model by its id, compiling it first where that is needed."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imgserve.errors import ArtefactInvalid, ModelError
from imgserve.models import catalogue
from imgserve.models.compiled_model import read_info
from imgserve.settings import BackendSettings

if TYPE_CHECKING:
    from imgserve.models.classifier import Classifier  # brings numpy and Pillow

log = logging.getLogger(__name__)

FLOAT32_BYTES = 4


def compiled_folder(settings: BackendSettings) -> Path:
    """Return the folder of compiled models."""
    return settings.weights_dir / "compiled"


def checkpoints_folder(settings: BackendSettings) -> Path:
    """Return the folder of downloaded weights."""
    return settings.weights_dir / "checkpoints"


def load(settings: BackendSettings, model_id: str) -> "Classifier":
    """Return a model on the settings' engine, warm, compiling it first where needed.

    Raises:
        UnknownModel: the catalogue has no such model.
        ModelError: it cannot be had, compiled or read.
    """
    prepare(settings, model_id)
    if settings.engine == "torch":
        classifier = _load_torch(settings, model_id)
    else:
        classifier = _load_openvino(settings, model_id)
    classifier.warm_up()
    return classifier


def prepare(settings: BackendSettings, model_id: str) -> int:
    """Compile a model where that is needed; return how many bytes it will take once loaded.

    Raises:
        UnknownModel: the catalogue has no such model.
        ModelError: it cannot be had or compiled.
    """
    entry = catalogue.entry(model_id)
    if settings.engine == "torch":
        return entry.parameters * FLOAT32_BYTES
    folder = compiled_folder(settings)
    try:
        return read_info(folder, model_id, settings.precision).memory_bytes
    except (FileNotFoundError, ArtefactInvalid):
        compile_apart(settings, model_id)
    return read_info(folder, model_id, settings.precision).memory_bytes


def _load_openvino(settings: BackendSettings, model_id: str) -> "Classifier":
    from imgserve.models import openvino_engine  # here: whoever only prepares does without it

    folder = compiled_folder(settings)
    return openvino_engine.load(
        folder, model_id, threads=settings.threads, precision=settings.precision
    )


def _load_torch(settings: BackendSettings, model_id: str) -> "Classifier":
    from imgserve.compile import torch_engine  # here, so that serving without torch stays so

    return torch_engine.load(
        checkpoints_folder(settings),
        model_id,
        threads=settings.threads,
        url_base=settings.weights_url_base,
    )


def compile_apart(settings: BackendSettings, model_id: str) -> None:
    """Compile a model in a process of its own, so that torch does not stay in this one's memory.

    Raises:
        ModelError: compiling failed; the message is the compiler's last line.
    """
    log.info("model %s is compiled once for this machine; this takes a minute or more", model_id)
    command = [sys.executable, "-m", "imgserve.compile", model_id]
    command += ["--until-stdin-closes", "--out", str(compiled_folder(settings))]
    command += ["--precision", settings.precision]
    command += ["--checkpoints", str(checkpoints_folder(settings))]
    if settings.weights_url_base:
        command += ["--weights-url-base", settings.weights_url_base]
    status, last_line = _run_showing_progress(command)
    if status:
        raise ModelError(f"compiling {model_id} failed: {last_line}")


def _run_showing_progress(command: list[str]) -> tuple[int, str]:
    """Run a command, copy what it says to standard error, return its status and its last line."""
    last_line = ""
    # Nothing is written to its input: that it closes tells it that this process is gone.
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True)  # noqa: S603
    with process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            last_line = line.strip() or last_line
    return process.returncode, last_line
