"""A compiled model on disk: three files, of which the last one written makes it valid.

::

    <folder>/<model>.json            what the model is (ModelInfo); names the other two
    <folder>/<model>-<hash>.xml      the graph, OpenVINO's form
    <folder>/<model>-<hash>.bin      its weights

In int8 the names begin with ``<model>.int8``, so that both precisions can be in one folder.
The JSON file is written last, by renaming, so a reader finds a whole model or none.
"""

import importlib.util
import logging
import os
import subprocess
import sys
import zlib
from mmap import ACCESS_READ, mmap
from pathlib import Path

import msgspec

from imgserve.contract import ModelState
from imgserve.errors import CompiledModelInvalid, ModelError
from imgserve.models import catalogue
from imgserve.settings import BackendSettings

log = logging.getLogger(__name__)

FORMAT = 3
FP32, INT8 = PRECISIONS = ("fp32", "int8")


class Transform(msgspec.Struct, frozen=True):
    """How a picture becomes the model's input; the numbers are those of torchvision's weights."""

    resize_size: int  # pixels the shorter side is resized to
    crop_size: int  # side of the square then cut from the middle, pixels
    interpolation: str  # bilinear or bicubic, both with antialiasing
    mean: tuple[float, float, float]  # per channel (red, green, blue), of values from 0 to 1
    std: tuple[float, float, float]


class File(msgspec.Struct, frozen=True):
    name: str
    size_bytes: int
    crc32: int  # of its content: what tells damage, at a twentieth of a start's time


class Quantization(msgspec.Struct, frozen=True):
    """How an int8 model was made, and checked against the same model in fp32.

    ``agreement`` is the share of the pictures checked that showed both the same class, or one that
    is as good as equally probable in fp32; ``same_class`` is the share without those near ties.
    """

    floating: str  # which layers stayed in float32
    agreement: float
    same_class: float
    pictures: int  # how many were checked, none of them used for calibration
    largest_difference: float  # of any probability
    right: float | None = None  # the share int8 was right about, where classes are known
    right_in_fp32: float | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    format: int
    model: str
    title: str
    precision: str  # of its numbers, fp32 or int8
    parameters: int
    top1: float | None
    transform: Transform
    categories: list[str]  # the classes' names, in the order of the output
    largest_difference: float  # of any probability in fp32 from the original's
    versions: dict[str, str]  # of the packages that compiled it
    graph: File
    weights: File
    quantization: Quantization | None = None
    source: str = ""  # a hash of what it was made from, for a person's own model


def stem(model_id: str, precision: str) -> str:
    """Return what the names of a model's files begin with."""
    return model_id if precision == FP32 else f"{model_id}.{precision}"


def info_path(folder: Path, model_id: str, precision: str = FP32) -> Path:
    """Return where a model's description is, or would be."""
    return folder / f"{stem(model_id, precision)}.json"


def described(path: Path, name: str) -> File:
    """Return the entry of a file that will be called ``name``."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return File(name, len(content), zlib.crc32(content))


def write_info(folder: Path, info: ModelInfo) -> None:
    """Make a compiled model valid: its other files are in the folder already."""
    final = info_path(folder, info.model, info.precision)
    draft = final.with_suffix(f".{os.getpid()}.partial")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=1))
    draft.replace(final)


def parse_info(folder: Path, model_id: str, precision: str = FP32) -> ModelInfo:
    """Return what a compiled model is said to be, without a look at its files.

    FileNotFoundError where the model is not in this folder, CompiledModelInvalid where what is said
    is damaged, or of another version of this package.
    """
    path = info_path(folder, model_id, precision)
    try:
        info = msgspec.json.decode(path.read_bytes(), type=ModelInfo)
    except msgspec.MsgspecError as exc:
        raise _invalid(f"{path} cannot be read ({exc})", model_id, precision) from exc
    if (info.format, info.model, info.precision) != (FORMAT, model_id, precision):
        raise _invalid(f"{path} is of another version", model_id, precision)
    return info


def read_info(folder: Path, model_id: str, precision: str = FP32) -> ModelInfo:
    """Return the same where the files are there, in their sizes; else CompiledModelInvalid."""
    info = parse_info(folder, model_id, precision)
    for file in (info.graph, info.weights):
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            raise _invalid(f"{path} is damaged", model_id, precision)
    return info


def check_content(folder: Path, info: ModelInfo) -> None:
    """Raise CompiledModelInvalid for files whose content is not what was written."""
    for file in (info.graph, info.weights):
        path = folder / file.name
        if described(path, file.name) != file:
            raise _invalid(f"{path} is damaged", info.model, info.precision)


def _invalid(what: str, model_id: str, precision: str) -> CompiledModelInvalid:
    option = "" if precision == FP32 else f" --precision {precision}"
    remedy = f"compile it again with `python -m imgserve.compile {model_id}{option}`"
    return CompiledModelInvalid(f"{what}: {remedy}")


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
        classes = catalogue.CLASSES if said.input_size else None
        told = said.title, said.parameters, said.top1, said.input_size
        return ModelState(model_id, *told, None, "absent", classes=classes)
    known = info.title, info.parameters, info.top1, info.transform.crop_size
    size_bytes = info.graph.size_bytes + info.weights.size_bytes
    return ModelState(model_id, *known, size_bytes, "absent", classes=len(info.categories))


def prepare(settings: BackendSettings, model_id: str) -> int:
    """Compile a model if that has not been done; return the size of its weights in bytes.

    UnknownModel where there is no such model, ModelError where it could not be compiled.
    """
    known = facts(settings, model_id)
    if settings.engine == "torch":
        return (known.parameters or 0) * 4  # a float32
    which = compiled_folder(settings), model_id, settings.compiled_precision
    try:
        return read_info(*which).weights.size_bytes
    except (FileNotFoundError, CompiledModelInvalid) as exc:
        if importlib.util.find_spec("imgserve.compile") is None:  # an image that only serves
            raise ModelError(
                f"model {model_id} is not in this image: name it when the image is built"
            ) from exc
        _compile_apart(settings, model_id)
    return read_info(*which).weights.size_bytes


def _compile_apart(settings: BackendSettings, model_id: str) -> None:
    """Compile a model in a process of its own, so that torch does not stay in this one's memory."""
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
