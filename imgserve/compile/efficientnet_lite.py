"""EfficientNet-Lite's architecture, from torchvision's building blocks.

EfficientNet without squeeze-and-excite and with ReLU6, made for devices that run integers:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
The one addition is a convolution that pads as TensorFlow does, since the weights were trained so.
"""

import math
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from imgserve.compile.torchvision_import import ConvNormActivation

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
    """A convolution padded as TensorFlow's "SAME": output size is input size over stride, up.

    Where the padding is odd, the extra row and column go to the bottom and the right.
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
    """torchvision's block with this padding, normalisation and activation."""

    def __init__(self, inputs: int, outputs: int, **kwargs: Any) -> None:
        kwargs = {"activation_layer": nn.ReLU6, **kwargs}
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # its authors' values
        super().__init__(
            inputs, outputs, padding=0, norm_layer=norm, conv_layer=SamePadConv2d, **kwargs
        )


class MBConv(nn.Module):
    """Widen, filter each channel alone, narrow; added to the input where shapes agree."""

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
    """Return the blocks; Lite scales neither the first stage's depth nor the last one's."""
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
