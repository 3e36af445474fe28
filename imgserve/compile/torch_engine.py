"""Run the original torchvision module: the reference in tests, and for a GPU."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgserve.compile import weights
from imgserve.models.classifier import Classifier, Probabilities
from imgserve.models.compiled_model import Transform
from imgserve.models.loading import checkpoints_folder
from imgserve.models.transform import Crop
from imgserve.models.worker_process import main
from imgserve.settings import BackendSettings


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


def servable(model_id: str, *, folder: Path, url_base: str = "") -> Servable:
    """Return a trained catalogue model with its transform; errors as ``weights.trained``."""
    module = weights.trained(model_id, folder=folder, url_base=url_base)
    return Servable(module, transform_of(weights.default_weights(model_id))).eval()


def load(settings: BackendSettings, model_id: str) -> Classifier:
    """Return a catalogue model as torchvision runs it, warm; errors as ``weights.trained``."""
    original = servable(
        model_id, folder=checkpoints_folder(settings), url_base=settings.weights_url_base
    )
    engine = TorchEngine(original, threads=settings.threads)
    entry = weights.default_weights(model_id)
    classifier = Classifier(model_id, entry.meta["categories"], transform_of(entry), engine)
    classifier.warm_up()
    return classifier


if __name__ == "__main__":  # a worker with ENGINE=torch
    sys.exit(main(load))
