"""torchvision, importable also where its compiled operators do not load.

A torchvision wheel built for another variant of torch (CUDA beside CPU, say) brings compiled
operators that cannot be loaded. Classifiers need none of them, but ``import torchvision``
registers shape rules for two, ``nms`` and ``qnms``, and fails if their names are unknown. So where
the compiled operators are missing, and only there, their schemas are defined first. Calling one
still fails, as it should. Import torchvision through this module.
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
    # A library's definitions last as long as this object does.
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
