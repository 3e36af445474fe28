"""Trained weights: brought to this machine, read, and put into the architecture they are of."""

import hashlib
import logging
import os
import pickle
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import torch
import torchvision
from torch import Tensor, nn

from imgserve.compile.architectures import PackagedWeights
from imgserve.errors import OriginalInvalid, WeightsUnavailable
from imgserve.machine import storage_emulator
from imgserve.models.compiled_model import Transform

# The start of the SHA-256 is in each name: resnet152-f82ba261.pth, resnet18_fbgemm_16fa66dd.pth
HASH_IN_NAME = re.compile(r"[-_]([a-f0-9]{8,})\.")
GOOGLE_STORAGE = "https://storage.googleapis.com"
READ_STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
# Where training scripts put them in a checkpoint, beside the optimizer's state and the epoch.
STATE_DICT = ("state_dict", "model_state_dict", "model", "net", "weights")
CLASSES = ("classes", "class_names", "categories", "labels", "class_to_idx")
# What wrappers put before each name: DataParallel, Lightning and torch.compile.
PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
NAMED = 3  # how many keys an error names
COUNTER = ".num_batches_tracked"  # of batch normalisation; predictions do not use it

log = logging.getLogger(__name__)


def default_weights(architecture: str) -> Any:
    """Return torchvision's ``DEFAULT`` weights entry; OriginalInvalid where it has none."""
    try:
        return torchvision.models.get_model_weights(architecture).DEFAULT
    except ValueError as exc:  # it is a person's own
        raise OriginalInvalid(
            f"torchvision has no trained weights of {architecture}: say weights"
        ) from exc


def transform_of(weights: Any) -> Transform:
    """Return the transform that a torchvision weights entry's ``transforms()`` describes."""
    preset = weights.transforms()
    return Transform(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def trained(architecture: str, *, folder: Path, url_base: str = "") -> nn.Module:
    """Return an architecture with its trained weights; ModelError where they cannot be used.

    ``folder`` keeps downloaded weights; ``url_base`` is a mirror with files of the same names.
    torchvision puts the weights in, because some architectures are others with them: inception_v3
    then normalises otherwise, and layers of densenet121 have other names in the file.
    """
    weights = default_weights(architecture)
    with tempfile.TemporaryDirectory() as hub:
        if not isinstance(weights, PackagedWeights):
            name = Path(weights.url).name
            url = f"{url_base}/{name}" if url_base else weights.url
            path = _downloaded(url, folder / name, *HASH_IN_NAME.findall(name))
            read(path)  # which runs no code; torchvision would
            Path(hub, "checkpoints").symlink_to(folder.resolve())
        torch.hub.set_dir(hub)
        module: nn.Module = torchvision.models.get_model(architecture, weights=weights)
    return module.eval()


def bring(source: str, sha256: str, folder: Path) -> Path:
    """Return a local file; ``folder`` keeps what is downloaded.

    The source is a path, or an address that begins with ``https://`` or ``gs://``. ``sha256`` is
    what the file's hash must be; it may be empty, but not for ``https://``. ModelError where the
    file is not there, or is another than the hash says.
    """
    if source.startswith("https://"):
        if not sha256:
            raise OriginalInvalid(
                f"{source} needs its hash beside it: sha256 = '...' (sha256sum FILE)"
            )
        name = f"{sha256[:16].lower()}-{Path(urlsplit(source).path).name}"
        return _downloaded(source, folder / name, sha256.lower())
    if "://" in source and not source.startswith("gs://"):
        raise OriginalInvalid(f"{source} cannot be used: give a path, https:// or gs://")
    path = _from_storage(source, folder) if "://" in source else Path(source)
    if not path.is_file():
        raise OriginalInvalid(f"{source} is not there")
    if sha256 and (found := digest(path)) != sha256.lower():
        raise OriginalInvalid(f"{source} has another SHA-256 than sha256 says: {found}")
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(url: str, path: Path, expected: str) -> Path:
    """Return a file whose hash begins as expected; WeightsUnavailable where there is none."""
    found = digest(path) if path.exists() else ""
    if found and found.startswith(expected):
        return path
    difference = f"its SHA-256 begins with {found[: len(expected)]} instead of {expected}"
    if found:
        log.warning("%s is not the right file, %s: it is downloaded anew", path, difference)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected)
    except Exception as exc:  # from urllib or http.client, or of a wrong hash
        wrong = f"; the file that is there is not the right one, {difference}" if found else ""
        raise WeightsUnavailable(
            f"{path.name} could not be downloaded from {url} ({exc}): check the network, or set "
            "WEIGHTS_URL_BASE to a mirror of torchvision's files, or put it into "
            f"{path.parent} by hand{wrong}"
        ) from exc
    return path


def _from_storage(source: str, folder: Path) -> Path:
    """Return an object of Cloud Storage, as whoever is signed in here or the build's account."""
    import google.auth  # here: only this needs it
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession

    bucket, _, name = source.removeprefix("gs://").partition("/")
    path = folder / Path(name).name
    folder.mkdir(parents=True, exist_ok=True)
    emulator = storage_emulator()
    url = f"{emulator or GOOGLE_STORAGE}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    draft = path.with_suffix(f"{path.suffix}.{os.getpid()}.partial")
    try:
        found = AnonymousCredentials() if emulator else google.auth.default([READ_STORAGE])[0]  # type: ignore[no-untyped-call]
        session = AuthorizedSession(found)  # type: ignore[no-untyped-call]
        with session.get(url, stream=True, timeout=60) as answer, draft.open("wb") as file:
            answer.raise_for_status()
            file.writelines(answer.iter_content(2**20))
        draft.replace(path)
    except (OSError, google.auth.exceptions.GoogleAuthError) as exc:  # requests' are OSErrors
        draft.unlink(missing_ok=True)
        raise OriginalInvalid(
            f"{source} could not be read ({exc}): sign in with an account that may, "
            "gcloud auth application-default login; in a build, run deployment/setup.sh again"
        ) from exc
    return path


def read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors that ``torch.save`` or safetensors wrote, and the classes' names if there.

    OriginalInvalid where it holds something else, or numbers that are not finite.
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
    classes: Any = next((content[key] for key in CLASSES if key in content), [])
    if isinstance(classes, Mapping):  # name to number, as torchvision's ImageFolder has it
        classes = sorted(classes, key=lambda name: classes[name])
    return tensors, [str(name) for name in classes] if isinstance(classes, list | tuple) else []


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


def fit(module: nn.Module, tensors: Mapping[str, Tensor], file: str, labels: int) -> str:
    """Put a file's tensors into a module; return the prefix that was left out of their names.

    The module is for as many classes as there are labels. OriginalInvalid where the tensors are of
    another architecture, or of another number of classes.
    """
    wanted = module.state_dict()
    first = next(iter(tensors)).partition(".")[0] + "."
    is_on_all = all(name.startswith(first) for name in tensors)
    is_wanted = any(name.startswith(first) for name in wanted)
    prefix = first if first in PREFIXES and is_on_all and not is_wanted else ""
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
