"""The models that can be served, known without importing torch.

The built-in ones are described in ``catalogue.toml``, a person's own in a file of the same form,
``models.toml`` (docs/own-model.md).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from imgserve.errors import ModelsFileInvalid, UnknownModel

BUILT_IN = Path(__file__).with_name("catalogue.toml")
# Services are called by it: v3-backend-NAME has at most 49 characters on Cloud Run.
NAME = re.compile(r"[a-z]([a-z0-9_]{0,36}[a-z0-9])?")
NAME_IN_WORDS = "up to 38 lower-case letters, digits and underscores, beginning with a letter"
PATHS = ("module", "weights", "onnx", "openvino", "labels", "samples")

# Those whose trained weights are Python packages: they need no download.
EMBEDDED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
CLASSES = 1000  # of ImageNet, which the built-in ones know

Channels = tuple[float, float, float]  # red, green, blue


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a model in such a file; paths begin at the file's folder."""

    title: str  # how a person calls it
    parameters: int | None = None  # number of trained weights
    top1: float | None = None  # published top-1 accuracy on ImageNet-1K, percent
    input_size: int | None = None  # height and width of the picture it sees, pixels
    architecture: str = ""  # torchvision's name of it; by default the model's own
    # Where torchvision has none: a file of Python with a function or class of that name, which
    # takes ``num_classes``.
    module: str = ""
    weights: str = ""  # a state dict, as a path, https:// or gs://; by default torchvision's own
    onnx: str = ""  # a graph instead of an architecture and weights
    openvino: str = ""
    sha256: str = ""  # of the file of weights or of the graph
    labels: str | list[str] = ""  # a file with the name of a class in each line, or these names
    resize: int | None = None  # the side that a picture's shorter one is resized to, pixels
    crop: int | None = None  # that of the square then cut from its middle
    interpolation: Literal["bilinear", "bicubic"] | None = None  # how it is resized
    mean: Channels | None = None  # for normalising, of values in ``value_range``
    std: Channels | None = None
    value_range: tuple[float, float] = (0.0, 1.0)  # what black and white are for a graph
    layout: Literal["NCHW", "NHWC"] | None = None  # of a graph's input
    samples: str = ""  # a folder of pictures that the page offers


@cache
def catalogue(models_file: Path | None) -> Mapping[str, Entry]:
    """Return the built-in models and those of a file by their names, or ModelsFileInvalid."""
    built_in = _read(BUILT_IN)
    own = _read(models_file) if models_file else {}
    for name in built_in.keys() & own:
        raise ModelsFileInvalid(
            f"{models_file}: the name {name} is taken by a built-in model: choose another"
        )
    return built_in | own


def _read(path: Path) -> dict[str, Entry]:
    try:
        tables = msgspec.toml.decode(path.read_bytes())
    except (OSError, ValueError) as exc:  # msgspec's and tomllib's errors are ValueErrors
        raise ModelsFileInvalid(f"{path} cannot be read: {exc}") from exc
    entries = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise ModelsFileInvalid(f"{path}: a model's name has {NAME_IN_WORDS}, not {name!r}")
        try:
            entry = msgspec.convert(table, Entry)
        except msgspec.ValidationError as exc:
            raise ModelsFileInvalid(f"{path}: [{name}]: {exc}") from exc
        entries[name] = _checked(f"{path}: {name}", entry, path.parent)
    return entries


def _checked(where: str, entry: Entry, folder: Path) -> Entry:
    """Return an entry that says where its files are, however its file was named."""
    kinds = [kind for kind in ("weights", "onnx", "openvino") if getattr(entry, kind)]
    if len(kinds) > 1:
        raise ModelsFileInvalid(f"{where} has {' and '.join(kinds)}: it is made from one of them")
    if kinds and kinds != ["weights"] and (entry.architecture or entry.module):
        raise ModelsFileInvalid(f"{where} has {kinds[0]}, so it takes no architecture or module")
    paths = {
        name: str(folder / path)
        for name in PATHS  # labels may be a list
        if isinstance(path := getattr(entry, name), str) and path and "://" not in path
    }
    return msgspec.structs.replace(entry, **paths)


def entry(model_id: str, models_file: Path | None = None) -> Entry:
    """Return what is said of a model, or UnknownModel with a list of those that there are."""
    known = catalogue(models_file)
    if model_id not in known:
        raise UnknownModel(f"there is no model {model_id!r}: choose one of {', '.join(known)}")
    return known[model_id]


def choices(
    listed: Sequence[str], default: str, models_file: Path | None = None
) -> tuple[str, ...]:
    """Return the models that callers may choose from, the default first.

    All of the catalogue where none are listed; the first is the default where none is said.
    """
    ids = listed or tuple(catalogue(models_file))
    return tuple(dict.fromkeys([default or ids[0], *ids]))
