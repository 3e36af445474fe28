"""Where trained classifiers come from: torchvision, a person's own checkpoint, or a graph."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import torchvision
from torch import nn

from imgserve.compile import checkpoint, graph, weights
from imgserve.compile.files import bring, digest
from imgserve.compile.original import Original, of_module
from imgserve.errors import OriginalInvalid
from imgserve.models.catalogue import Entry
from imgserve.models.compiled_model import Transform

Say = Callable[[str], None]


def original(
    model_id: str, entry: Entry, *, folder: Path, url_base: str = "", say: Say = print
) -> Original:
    """Return a trained classifier; ModelError where something of it cannot be used.

    ``folder`` keeps what is downloaded, ``url_base`` is a mirror of torchvision's own weights, and
    ``say`` shows what was found out.
    """
    if file := entry.onnx or entry.openvino:
        path = bring(file, entry.sha256, folder)
        found = graph.read(path, entry, _categories(path, entry), say)
        return replace(found, source=_source(entry, path))
    architecture = entry.architecture or model_id
    builder = _builder(architecture, entry.module)
    if entry.weights:
        path = bring(entry.weights, entry.sha256, folder)
        module, categories = _of_checkpoint(path, builder, entry, say)
        source = _source(entry, path)
    else:
        module = weights.trained(architecture, folder=folder, url_base=url_base)
        categories, source = weights.default_weights(architecture).meta["categories"], ""
    found = of_module(module, _transform(architecture, entry), categories, entry)
    return replace(found, source=source)


def _of_checkpoint(
    path: Path, builder: Callable[..., nn.Module], entry: Entry, say: Say
) -> tuple[nn.Module, Sequence[str]]:
    """Return a module with the tensors of a file, and the names of its classes."""
    tensors, classes = checkpoint.read(path)
    categories = _categories(path, entry, classes)
    module = builder(num_classes=len(categories)).eval()
    if prefix := checkpoint.fit(module, tensors, path.name, len(categories)):
        say(f"left out {prefix!r}, with which all names in {path.name} begin")
    return module, categories


def _builder(architecture: str, module: str) -> Callable[..., nn.Module]:
    """Return what builds an architecture, which a person's own module may define or register."""
    defined = getattr(_run(Path(module)), architecture, None) if module else None
    if defined is None and architecture not in torchvision.models.list_models():
        where = f"{Path(module).name} does not define it" if module else "no module is given"
        raise OriginalInvalid(f"torchvision has no classifier {architecture!r}, and {where}")
    return defined or partial(torchvision.models.get_model, architecture, weights=None)


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise OriginalInvalid(f"{path} is no module of Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:  # whatever a person's own code raises
        raise OriginalInvalid(f"{path} failed: {type(exc).__name__}: {exc}") from exc
    return module


def _categories(path: Path, entry: Entry, classes: Sequence[str] = ()) -> Sequence[str]:
    """Return the names of classes as the labels have them, else those in the file of weights."""
    labels = entry.labels if isinstance(entry.labels, list) else _lines(entry.labels)
    if names := labels or classes:
        return names
    raise OriginalInvalid(f"{path.name} has no names of classes: give a file of labels")


def _lines(labels: str) -> list[str]:
    """Return what a file of labels has in its lines; nothing where no file is named."""
    if not labels:
        return []
    try:
        names = Path(labels).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise OriginalInvalid(f"the labels {labels} cannot be read: {exc}") from exc
    names = [name.strip() for name in names] or [""]
    if "" in names:
        line = names.index("") + 1
        raise OriginalInvalid(f"{labels} has an empty line {line}: it has a label in each")
    return names


def _transform(architecture: str, entry: Entry) -> Transform:
    """Return how pictures are prepared: as is said, else as for the architecture's own weights."""
    said = {
        "resize_size": entry.resize,
        "crop_size": entry.crop,
        "interpolation": entry.interpolation,
        "mean": entry.mean,
        "std": entry.std,
    }
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    try:
        default = weights.transform_of(weights.default_weights(architecture))
    except OriginalInvalid as exc:
        if missing := [name.removesuffix("_size") for name in said if name not in given]:
            raise OriginalInvalid(
                f"{architecture} has no weights of its own to take them from: "
                f"say {', '.join(missing)}"
            ) from exc
        return Transform(**given)
    return msgspec.structs.replace(default, **given)


def _source(entry: Entry, path: Path) -> str:
    """Return a hash of all that a model is made from."""
    parts = [msgspec.json.encode(entry), digest(path).encode()]
    others = [entry.module, entry.labels if isinstance(entry.labels, str) else ""]
    parts += [Path(other).read_bytes() for other in others if other]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
