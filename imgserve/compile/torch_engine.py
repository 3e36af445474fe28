"""Run a torch module: the reference that compiled models are compared with, and for a GPU."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from imgserve.models.classifier import Probabilities
from imgserve.models.compiled_model import Transform
from imgserve.models.openvino_import import openvino as _before_its_tools  # noqa: F401
from imgserve.models.transform import Crop


class Servable(nn.Module):
    """A classifier that takes crops: normalisation is put before it and softmax after it."""

    def __init__(self, module: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.module = module
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(transform.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """Return (N, C) probabilities of (N, H, W, 3) uint8 crops."""
        pictures = crops.permute(0, 3, 1, 2).float() / 255
        logits: Tensor = self.module((pictures - self.mean) / self.std)
        return logits.softmax(dim=1)


class TorchEngine:
    """Runs a servable module on the GPU if there is one, else on the CPU."""

    def __init__(self, servable: Servable, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._servable = servable.to(self._device).eval()

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (N, C) probabilities of (N, H, W, 3) uint8 crops."""
        with torch.inference_mode():
            probabilities = self._servable(torch.tensor(crops, device=self._device))
        numbers: Probabilities = probabilities.cpu().numpy()
        return numbers


def transform_of(default_weights: Any) -> Transform:
    """Return the transform that a torchvision weights entry's ``transforms()`` describes."""
    preset = default_weights.transforms()
    return Transform(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def converted(servable: Servable, transform: Transform) -> Any:
    """Return a servable module as a graph of OpenVINO's."""
    from openvino.tools.ovc import convert_model  # after openvino itself: see openvino_import

    shape = (1, transform.crop_size, transform.crop_size, 3)
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        # Sizes become constants in the graph, as intended: the input's shape is fixed.
        warnings.simplefilter("ignore", TracerWarning)
        # torch deprecates torch.jit, which OpenVINO's exporter still uses.
        warnings.simplefilter("ignore", DeprecationWarning)
        return convert_model(servable, example_input=example, input=list(shape))
