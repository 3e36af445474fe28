"""Where compiled models are, and how one that is missing is compiled."""

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

from imgserve.contract import ModelState
from imgserve.errors import CompiledModelInvalid, ModelError
from imgserve.models import catalogue
from imgserve.models.compiled_model import parse_info, read_info
from imgserve.settings import BackendSettings

log = logging.getLogger(__name__)

FLOAT32_BYTES = 4


def compiled_folder(settings: BackendSettings) -> Path:
    return settings.weights_dir / "compiled"


def checkpoints_folder(settings: BackendSettings) -> Path:
    return settings.weights_dir / "checkpoints"


def facts(settings: BackendSettings, model_id: str) -> ModelState:
    """Return what is known of a model before it is loaded, None for what compiling finds out.

    UnknownModel where it is neither described nor compiled. An image has those of a person's own
    without their files.
    """
    try:
        info = parse_info(compiled_folder(settings), model_id, settings.compiled_precision)
    except (OSError, CompiledModelInvalid):
        said = catalogue.entry(model_id, settings.models_file)
        size, classes = said.input_size, catalogue.CLASSES if said.input_size else None
        return ModelState(
            model_id, said.title, said.parameters, said.top1, size, None, "absent", classes=classes
        )
    size_bytes = info.graph.size_bytes + info.weights.size_bytes
    size, classes = info.transform.crop_size, len(info.categories)
    return ModelState(
        model_id,
        info.title,
        info.parameters,
        info.top1,
        size,
        size_bytes,
        "absent",
        classes=classes,
    )


def prepare(settings: BackendSettings, model_id: str) -> int:
    """Compile a model if that has not been done; return the size of its weights in bytes.

    UnknownModel where there is no such model, ModelError where it could not be compiled.
    """
    known = facts(settings, model_id)
    if settings.engine == "torch":
        return (known.parameters or 0) * FLOAT32_BYTES
    described = compiled_folder(settings), model_id, settings.compiled_precision
    try:
        return read_info(*described).weights.size_bytes
    except (FileNotFoundError, CompiledModelInvalid) as exc:
        if importlib.util.find_spec("imgserve.compile") is None:  # an image that only serves
            raise ModelError(
                f"model {model_id} is not in this image: name it when the image is built"
            ) from exc
        _compile_apart(settings, model_id)
    return read_info(*described).weights.size_bytes


def _compile_apart(settings: BackendSettings, model_id: str) -> None:
    """Compile a model in a process of its own, so that torch does not stay in this one's memory.

    ModelError has the compiler's last line where that failed.
    """
    log.info("model %s is compiled once for this machine; this takes a minute or more", model_id)
    command = [sys.executable, "-m", "imgserve.compile", model_id]
    command += ["--until-stdin-closes", "--out", str(compiled_folder(settings))]
    command += ["--precision", settings.compiled_precision]
    command += ["--checkpoints", str(checkpoints_folder(settings))]
    if settings.models_file:
        command += ["--models-file", str(settings.models_file)]
    if settings.weights_url_base:
        command += ["--weights-url-base", settings.weights_url_base]
    last_line, pipe = "", subprocess.PIPE
    # Nothing is written to its input: that it closes tells it that this process is gone.
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            last_line = line.strip() or last_line
    if process.returncode:
        raise ModelError(f"compiling {model_id} failed: {last_line}")
