"""Trained classifiers as they came: torchvision's, a person's own checkpoint, or a graph."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import torchvision
from torch import nn

from imgserve.compile import checkpoint, graph, weights
from imgserve.compile.files import bring, digest
from imgserve.compile.torch_engine import Servable, TorchEngine, converted, transform_of
from imgserve.errors import OriginalInvalid
from imgserve.machine import cpu_quota
from imgserve.models.catalogue import Entry
from imgserve.models.classifier import Engine
from imgserve.models.compiled_model import Transform

Say = Callable[[str], None]


@dataclass(frozen=True)
class Original:
    """A trained classifier, and what serving it takes.

    Attributes:
        engine: what the compiled model is compared with.
        convert: returns its graph in OpenVINO's form, which takes (1, H, W, 3) uint8 crops and
            gives (1, C) probabilities.
        source: a hash of what a person's own model was made from.
        servable: the same as a torch module, where it is one.
    """

    title: str
    transform: Transform
    categories: Sequence[str]
    engine: Engine
    convert: Callable[[], Any]
    parameters: int
    top1: float | None = None
    source: str = ""
    servable: Servable | None = None


def original(
    model_id: str, entry: Entry, *, folder: Path, url_base: str = "", say: Say = print
) -> Original:
    """Return a trained classifier.

    Args:
        model_id: its name.
        entry: what is said of it.
        folder: keeps what is downloaded.
        url_base: a mirror of torchvision's own weights.
        say: shows what was found out.

    Raises:
        ModelError: its files, its labels or what is said of it cannot be used.
    """
    if entry.onnx or entry.openvino:
        return _of_graph(entry, folder, say)
    architecture = entry.architecture or model_id
    builder = _builder(architecture, entry.module)
    if entry.weights:
        return _of_checkpoint(architecture, builder, entry, folder, say)
    default = weights.default_weights(architecture)
    module = weights.trained(architecture, folder=folder, url_base=url_base)
    categories = default.meta["categories"]
    return of_module(module, _transform(architecture, entry), categories, entry)


def of_module(
    module: nn.Module, transform: Transform, categories: Sequence[str], entry: Entry
) -> Original:
    """Return a classifier that is a torch module, which gives logits."""
    servable = Servable(module, transform).eval()
    count = sum(parameter.numel() for parameter in module.parameters())
    return Original(
        entry.title,
        transform,
        categories,
        engine=TorchEngine(servable, threads=cpu_quota()),
        convert=lambda: converted(servable, transform),
        parameters=count,
        top1=entry.top1,
        servable=servable,
    )


def _of_checkpoint(
    architecture: str,
    builder: Callable[..., nn.Module],
    entry: Entry,
    folder: Path,
    say: Say,
) -> Original:
    path = bring(entry.weights, entry.sha256, folder)
    tensors, classes = checkpoint.read(path)
    categories = _labels(entry.labels) or classes
    if not categories:
        raise OriginalInvalid(f"{path.name} has no names of classes: give a file of labels")
    module = builder(num_classes=len(categories))
    prefix = checkpoint.fit(module, tensors, path.name, len(categories))
    if prefix:
        say(f"left out {prefix!r}, with which all names in {path.name} begin")
    found = of_module(module.eval(), _transform(architecture, entry), categories, entry)
    return replace(found, source=_source(entry, path))


def _of_graph(entry: Entry, folder: Path, say: Say) -> Original:
    path = bring(entry.onnx or entry.openvino, entry.sha256, folder)
    categories = _labels(entry.labels)
    if not categories:
        raise OriginalInvalid(f"{path.name} has no names of classes: give a file of labels")
    found = graph.read(path, entry, len(categories), say)
    return Original(
        entry.title,
        found.transform,
        categories,
        engine=found.engine,
        convert=found.convert,
        parameters=found.parameters,
        source=_source(entry, path),
    )


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


def _labels(labels: str | list[str]) -> list[str]:
    """Return the names of classes; nothing where none are given."""
    if isinstance(labels, list):
        return labels
    if not labels:
        return []
    try:
        lines = Path(labels).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise OriginalInvalid(f"the labels {labels} cannot be read: {exc}") from exc
    names = [line.strip() for line in lines]
    if not names or "" in names:
        line = names.index("") + 1 if names else 1
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
        default = transform_of(torchvision.models.get_model_weights(architecture).DEFAULT)
    except ValueError as exc:  # registered without weights of its own
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
