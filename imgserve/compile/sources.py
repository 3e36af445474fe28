"""Where trained classifiers come from: torchvision, a person's own checkpoint, or a graph."""

import hashlib
import runpy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import torchvision
from torch import nn

from imgserve.compile import weights
from imgserve.compile.original import Original, of_graph, of_module, say
from imgserve.errors import OriginalInvalid
from imgserve.models.catalogue import Entry
from imgserve.models.compiled_model import Transform


def original(model_id: str, entry: Entry, *, folder: Path, url_base: str = "") -> Original:
    """Return a trained classifier, saying what is found out; ModelError where it cannot be used.

    ``folder`` keeps what is downloaded, ``url_base`` is a mirror of torchvision's own weights.
    """
    if file := entry.onnx or entry.openvino:
        path = weights.bring(file, entry.sha256, folder)
        found = of_graph(model_id, path, entry, _categories(path, entry))
        return replace(found, source=_source(entry, path))
    architecture = entry.architecture or model_id
    builder = _builder(architecture, entry.module)
    if not entry.weights:
        module = weights.trained(architecture, folder=folder, url_base=url_base)
        categories = weights.default_weights(architecture).meta["categories"]
        return of_module(module, _transform(architecture, entry), categories, entry)
    path = weights.bring(entry.weights, entry.sha256, folder)
    tensors, classes = weights.read(path)
    categories = _categories(path, entry, classes)
    module = builder(num_classes=len(categories)).eval()
    if prefix := weights.fit(module, tensors, path.name, len(categories)):
        say(model_id, f"left out {prefix!r}, with which all names in {path.name} begin")
    found = of_module(module, _transform(architecture, entry), categories, entry)
    return replace(found, source=_source(entry, path))


def _builder(architecture: str, module: str) -> Callable[..., nn.Module]:
    """Return what builds an architecture, which a person's own module may define or register."""
    path, defined = Path(module), None
    if module and not path.is_file():
        raise OriginalInvalid(f"{path} is no module of Python")
    try:
        defined = runpy.run_path(module).get(architecture) if module else None
    except Exception as exc:  # whatever a person's own code raises
        raise OriginalInvalid(f"{path} failed: {type(exc).__name__}: {exc}") from exc
    if defined is None and architecture not in torchvision.models.list_models():
        where = f"{path.name} does not define it" if module else "no module is given"
        raise OriginalInvalid(f"torchvision has no classifier {architecture!r}, and {where}")
    return defined or partial(torchvision.models.get_model, architecture, weights=None)


def _categories(path: Path, entry: Entry, classes: Sequence[str] = ()) -> Sequence[str]:
    """Return the names of classes as the labels have them, else those in the file of weights."""
    names = entry.labels or classes
    if not names:
        raise OriginalInvalid(f"{path.name} has no names of classes: give a file of labels")
    if not isinstance(names, str):
        return names
    try:
        text = Path(names).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise OriginalInvalid(f"the labels {names} cannot be read: {exc}") from exc
    lines = [line.strip() for line in text.rstrip().splitlines()] or [""]
    if "" in lines:
        line = lines.index("") + 1
        raise OriginalInvalid(f"{names} has an empty line {line}: it has a label in each")
    return lines


def _transform(architecture: str, entry: Entry) -> Transform:
    """Return how pictures are prepared: as is said, else as for the architecture's own weights."""
    keys = {name: name.removesuffix("_size") for name in Transform.__struct_fields__}
    said = {name: getattr(entry, key) for name, key in keys.items()}
    given = {name: value for name, value in said.items() if value is not None}
    if len(given) == len(said):
        return Transform(**given)
    try:
        default = weights.transform_of(weights.default_weights(architecture))
    except OriginalInvalid as exc:
        missing = [key for name, key in keys.items() if name not in given]
        raise OriginalInvalid(
            f"{architecture} has no weights of its own to take them from: say {', '.join(missing)}"
        ) from exc
    return msgspec.structs.replace(default, **given)


def _source(entry: Entry, path: Path) -> str:
    """Return a hash of all that a model is made from."""
    others = [entry.module, entry.labels if isinstance(entry.labels, str) else ""]
    parts = [Path(other).read_bytes() for other in others if other]
    parts = [msgspec.json.encode(entry), weights.digest(path).encode(), *parts]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
