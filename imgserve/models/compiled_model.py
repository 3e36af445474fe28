"""A compiled model on disk: three files, of which the last one written makes it valid.

::

    <folder>/<model>.json            what the model is (ModelInfo); names the other two
    <folder>/<model>-<hash>.xml      the graph, OpenVINO's form
    <folder>/<model>-<hash>.bin      its weights

In int8 the names begin with ``<model>.int8``, so that both precisions can be in one folder.
The JSON file is written last, by renaming, so a reader finds a whole model or none.
"""

import os
import zlib
from mmap import ACCESS_READ, mmap
from pathlib import Path

import msgspec

from imgserve.errors import CompiledModelInvalid

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
    """One file of a compiled model."""

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
    """What a compiled model is and how it was checked."""

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
