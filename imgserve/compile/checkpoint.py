"""Trained tensors from a file, put into the architecture that they are of."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imgserve.errors import OriginalInvalid

# Where training scripts put them in a checkpoint, beside the optimizer's state and the epoch.
STATE_DICT = ("state_dict", "model_state_dict", "model", "net", "weights")
CLASSES = ("classes", "class_names", "categories", "labels", "class_to_idx")
# What wrappers put before each name: DataParallel, Lightning and torch.compile.
PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
NAMED = 3  # how many keys an error names
COUNTER = ".num_batches_tracked"  # of batch normalisation; predictions do not use it


class Checkpoint(NamedTuple):
    """Tensors by name, and the names of the classes where the file has them, in order."""

    tensors: dict[str, Tensor]
    classes: list[str]


def read(path: Path) -> Checkpoint:
    """Return what is in a file that ``torch.save`` or safetensors wrote.

    Raises:
        OriginalInvalid: it holds something else, or numbers that are not finite.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    found = next(
        (content[key] for key in STATE_DICT if isinstance(content.get(key), dict)), content
    )
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors or (found is content and len(tensors) < len(content)):
        raise OriginalInvalid(
            f"{path.name} has no state dict: save one with torch.save(model.state_dict(), "
            f"{path.name!r}), or with classes as {{'state_dict': ..., 'classes': [...]}}"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise OriginalInvalid(
                f"{path.name}: {name} holds numbers that are not finite (NaN or infinity), so the "
                "training diverged: use a checkpoint from before that"
            )
    return Checkpoint(tensors, _classes(content))


def _safetensors(path: Path) -> dict[str, Any]:
    import safetensors.torch  # here: only this needs it

    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError) as exc:
        raise OriginalInvalid(f"{path.name} cannot be read as safetensors: {exc}") from exc


def _pickled(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as exc:
        if found := re.search(r"GLOBAL (\S+)|TorchScript", str(exc)):
            holds = f"the class {found[1]}" if found[1] else "a TorchScript module"
            raise OriginalInvalid(
                f"{path.name} holds a whole pickled module ({holds}), and reading it would run its "
                f"code: save its tensors alone, torch.save(model.state_dict(), {path.name!r})"
            ) from exc
        raise OriginalInvalid(f"{path.name} is damaged, or no file that torch.save wrote") from exc
    if not isinstance(content, Mapping):
        raise OriginalInvalid(f"{path.name} holds a {type(content).__name__}, not a state dict")
    return content


def _classes(content: Mapping[str, Any]) -> list[str]:
    found: Any = next((content[key] for key in CLASSES if key in content), [])
    if isinstance(found, Mapping):  # name to number, as torchvision's ImageFolder has it
        found = sorted(found, key=lambda name: found[name])
    return [str(name) for name in found] if isinstance(found, list | tuple) else []


def fit(module: nn.Module, tensors: Mapping[str, Tensor], file: str, labels: int) -> str:
    """Put a file's tensors into a module; return the prefix that was left out of their names.

    The module is for as many classes as there are labels. OriginalInvalid where the tensors are of
    another architecture, or of another number of classes.
    """
    wanted = module.state_dict()
    prefix = _prefix(tensors, wanted)
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    wrong = [key for key in wanted if key in named and named[key].shape != wanted[key].shape]
    outputs = {named[key].shape[:1] for key in wrong}
    if len(outputs) == 1 and all(wanted[key].shape[:1] == (labels,) for key in wrong):
        (count,) = outputs.pop()
        raise OriginalInvalid(f"there are {labels} labels, but {file} has {count} outputs")
    if misfit := _misfit(named, wanted, wrong):
        raise OriginalInvalid(f"{file} {misfit}")
    module.load_state_dict(named, strict=False)  # a counter may be missing
    return prefix


def _prefix(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Return what a wrapper put before every name, nothing where the names are as wanted."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors) and not any(
            name.startswith(prefix) for name in wanted
        ):
            return prefix
    return ""


def _misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], wrong: list[str]) -> str:
    """Return which tensors do not fit, and why that is likely so; nothing where all do."""
    missing = [name for name in wanted if name not in found and not name.endswith(COUNTER)]
    unexpected = [name for name in found if name not in wanted]
    parts = [
        f"{what} {', '.join(names[:NAMED])}" + (" and more" if len(names) > NAMED else "")
        for what, names in (("lacks", missing), ("unexpectedly has", unexpected))
        if names
    ]
    for name in wrong[:1]:
        shapes = (" x ".join(map(str, tensors[name].shape)) for tensors in (found, wanted))
        parts.append(f"has {name} of {' instead of '.join(shapes)}")
    if not parts:
        return ""
    if any(name.startswith(PREFIXES) for name in unexpected):
        cause = f"a wrapper's prefix, {unexpected[0].partition('.')[0]}., on some of the names"
    elif not wrong and len(set(found) & set(wanted)) > len(wanted) / 2:
        cause = "its last layers were replaced by others: give the architecture in a module"
    else:
        cause = "it is of another architecture"
    return f"{'; '.join(parts)}: most likely {cause}"
