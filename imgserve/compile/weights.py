"""Trained weights of torchvision's architectures, downloaded completely or not at all."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from imgserve.compile.architectures import PackagedWeights
from imgserve.errors import WeightsUnavailable

# torch.hub puts the start of the SHA-256 into the name: resnet152-f82ba261.pth
HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.")

log = logging.getLogger(__name__)


def trained(architecture: str, *, folder: Path, url_base: str = "") -> nn.Module:
    """Return an architecture with its trained weights, or WeightsUnavailable.

    ``folder`` keeps downloaded weights; ``url_base`` is a mirror with files of the same names.
    """
    weights = default_weights(architecture)
    module: nn.Module = torchvision.models.get_model(architecture)
    module.load_state_dict(state_dict(weights, folder=folder, url_base=url_base))
    return module.eval()


def default_weights(architecture: str) -> Any:
    """Return torchvision's ``DEFAULT`` weights entry."""
    return torchvision.models.get_model_weights(architecture).DEFAULT


def state_dict(weights: Any, *, folder: Path, url_base: str = "") -> dict[str, Tensor]:
    """Return the trained tensors by name; see ``trained`` for arguments and errors."""
    if isinstance(weights, PackagedWeights):
        return weights.get_state_dict()
    url = f"{url_base}/{Path(weights.url).name}" if url_base else weights.url
    return _downloaded(url, folder)


def _downloaded(url: str, folder: Path) -> dict[str, Tensor]:
    cached = folder / Path(url).name
    was_there, difference = cached.exists(), _difference(cached)
    try:
        if difference:
            log.warning("%s is not the right file, %s: it is downloaded anew", cached, difference)
            torch.hub.download_url_to_file(url, str(cached), _hash_in_name(cached))
            difference = ""
        tensors: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, model_dir=str(folder), map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as exc:  # from urllib, http.client, pickle or zipfile
        if not was_there:
            cached.unlink(missing_ok=True)
        wrong = f"; the file that is there is not the right one, {difference}" if difference else ""
        raise WeightsUnavailable(
            f"{cached.name} could not be downloaded from {url} ({exc}): check the network, or set "
            "WEIGHTS_URL_BASE to a mirror that holds this file, or put it into "
            f"{folder} by hand{wrong}"
        ) from exc
    return tensors


def _difference(cached: Path) -> str:
    """Return how a file differs from the hash in its name; empty if it fits or is absent."""
    expected = _hash_in_name(cached)
    if not cached.exists() or expected is None:
        return ""
    with cached.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found.startswith(expected):
        return ""
    return f"its SHA-256 begins with {found[: len(expected)]} instead of {expected}"


def _hash_in_name(cached: Path) -> str | None:
    match = HASH_IN_NAME.search(cached.name)
    return match and match[1]
