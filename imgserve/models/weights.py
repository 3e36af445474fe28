"""Trained weights of a catalogue model, downloaded whole or not at all."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgserve.errors import WeightsUnavailable
from imgserve.models import catalogue
from imgserve.models.packaged import PackagedWeights
from imgserve.models.vision import torchvision

# torch.hub names a file after the start of its SHA-256: resnet152-f82ba261.pth
HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.")


def trained(model_id: str, *, folder: Path, url_base: str = "") -> nn.Module:
    """Return a catalogue model with its trained weights, ready to answer.

    Args:
        model_id: a name of the catalogue.
        folder: where downloaded weights are kept.
        url_base: a mirror that holds the files under their own names; empty for their own host.

    Raises:
        UnknownModel: the catalogue has no such model.
        WeightsUnavailable: the weights could not be downloaded whole.
    """
    weights = default_weights(model_id)
    module: nn.Module = torchvision.models.get_model(model_id)
    module.load_state_dict(state_dict(weights, folder=folder, url_base=url_base))
    return module.eval()


def default_weights(model_id: str) -> Any:
    """Return torchvision's ``DEFAULT`` weights entry of a catalogue model."""
    return torchvision.models.get_model_weights(catalogue.entry(model_id).id).DEFAULT


def state_dict(weights: Any, *, folder: Path, url_base: str = "") -> dict[str, Tensor]:
    """Return the trained tensors by name; see ``trained`` for arguments and errors."""
    if isinstance(weights, PackagedWeights):
        return weights.get_state_dict()
    url = f"{url_base}/{Path(weights.url).name}" if url_base else weights.url
    return _downloaded(url, folder)


def _downloaded(url: str, folder: Path) -> dict[str, Tensor]:
    cached = folder / Path(url).name
    _discard_if_damaged(cached)
    try:
        tensors: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, model_dir=str(folder), map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as exc:  # the loader raises what urllib, http.client, pickle or zip raise
        cached.unlink(missing_ok=True)
        raise WeightsUnavailable(
            f"{cached.name} could not be had from {url} ({exc}): check the network, or set "
            "WEIGHTS_URL_BASE to a mirror that holds this file, or put it into "
            f"{folder} by hand"
        ) from exc
    return tensors


def _discard_if_damaged(cached: Path) -> None:
    """Remove a file whose content is not what its name says, so that it is downloaded again."""
    expected = HASH_IN_NAME.search(cached.name)
    if not cached.exists() or expected is None:
        return
    with cached.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not actual.startswith(expected.group(1)):
        cached.unlink()
