"""Trained weights of torchvision's architectures, downloaded completely or not at all."""

import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from imgserve.compile import checkpoint
from imgserve.compile.architectures import PackagedWeights
from imgserve.compile.files import digest
from imgserve.errors import OriginalInvalid, WeightsUnavailable
from imgserve.models.compiled_model import Transform

# The start of the SHA-256 is in each name: resnet152-f82ba261.pth, resnet18_fbgemm_16fa66dd.pth
HASH_IN_NAME = re.compile(r"[-_]([a-f0-9]{8,})\.")

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
            url = f"{url_base}/{Path(weights.url).name}" if url_base else weights.url
            checkpoint.read(_downloaded(url, folder))  # which runs no code; torchvision would
            Path(hub, "checkpoints").symlink_to(folder.resolve())
        torch.hub.set_dir(hub)
        module: nn.Module = torchvision.models.get_model(architecture, weights=weights)
    return module.eval()


def _downloaded(url: str, folder: Path) -> Path:
    """Return a file whose hash is as its name says; WeightsUnavailable where there is none."""
    path = folder / Path(url).name
    (expected,) = HASH_IN_NAME.findall(path.name)
    found = digest(path) if path.exists() else ""
    if found and found.startswith(expected):
        return path
    difference = f"its SHA-256 begins with {found[: len(expected)]} instead of {expected}"
    if found:
        log.warning("%s is not the right file, %s: it is downloaded anew", path, difference)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected)
    except Exception as exc:  # from urllib or http.client, or of a wrong hash
        wrong = f"; the file that is there is not the right one, {difference}" if found else ""
        raise WeightsUnavailable(
            f"{path.name} could not be downloaded from {url} ({exc}): check the network, or set "
            "WEIGHTS_URL_BASE to a mirror that holds this file, or put it into "
            f"{folder} by hand{wrong}"
        ) from exc
    return path
