"""torchvision, importable even if its compiled operators do not load: import it from here.

A torchvision wheel built for another variant of torch, say CUDA instead of CPU, has compiled
operators that cannot be loaded. Classifiers need none of them, but ``import torchvision`` registers
shape rules for two, ``nms`` and ``qnms``, and fails if they are unknown. Only where the compiled
operators are missing, this module defines the schemas of these two first. Calling one still fails,
as it should.
"""

import importlib.util
from pathlib import Path

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed: pip install torchvision==0.28.0")
    for library in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return True
    return False


if not _compiled_operators_load():
    # The definitions last as long as this object.
    _schemas = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _schemas.define(_name + SCHEMA)  # type: ignore[no-untyped-call]

# ruff: noqa: E402  the schemas above come first
import torchvision
from torchvision.models._api import Weights, WeightsEnum, register_model
from torchvision.models._meta import _IMAGENET_CATEGORIES as IMAGENET_CATEGORIES
from torchvision.ops.misc import ConvNormActivation
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

__all__ = [
    "IMAGENET_CATEGORIES",
    "ConvNormActivation",
    "ImageClassification",
    "InterpolationMode",
    "Weights",
    "WeightsEnum",
    "register_model",
    "torchvision",
]
