"""A trained classifier as it came: what is compiled, and what the result is compared with."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from imgserve.machine import cpu_quota
from imgserve.models.catalogue import Entry
from imgserve.models.classifier import Engine, Probabilities
from imgserve.models.compiled_model import Transform
from imgserve.models.openvino_engine import openvino as _before_its_tools  # noqa: F401
from imgserve.models.transform import Crop, crop

SAMPLES = Path(__file__).parent.parent / "samples"
NOISE_PICTURES = 4


class Servable(nn.Module):
    """A classifier that takes crops: normalisation is put before it and softmax after it."""

    def __init__(self, module: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.module = module
        self.side = transform.crop_size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(transform.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """Return (N, C) probabilities of (N, H, W, 3) uint8 crops."""
        pictures = crops.permute(0, 3, 1, 2).float() / 255
        logits: Tensor = self.module((pictures - self.mean) / self.std)
        return logits.softmax(dim=1)

    def answer(self, crops: Crop) -> Probabilities:
        """Return the same as ``forward``, computed by the device that the module is on."""
        with torch.inference_mode():
            found: Tensor = self(torch.tensor(crops, device=self.mean.device))
        numbers: Probabilities = found.cpu().numpy()
        return numbers

    def convert(self) -> Any:
        """Return the same in OpenVINO's form, for one crop."""
        from openvino.tools.ovc import convert_model  # after openvino itself: see openvino_engine

        # Else nn.MultiheadAttention takes another way the second time, and tracing fails.
        torch.backends.mha.set_fastpath_enabled(False)
        shape = (1, self.side, self.side, 3)
        example = torch.zeros(shape, dtype=torch.uint8)
        with warnings.catch_warnings():
            # Sizes become constants in the graph, as intended: the input's shape is fixed.
            warnings.simplefilter("ignore", TracerWarning)
            # torch deprecates torch.jit, which OpenVINO's exporter still uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            return convert_model(self, example_input=example, input=list(shape))


@dataclass(frozen=True)
class Original:
    """A trained classifier, and what serving it takes."""

    entry: Entry
    transform: Transform
    categories: Sequence[str]
    engine: Engine  # what the compiled model is compared with
    # Returns its graph in OpenVINO's form: of (1, H, W, 3) uint8 crops (1, C) probabilities.
    convert: Callable[[], Any]
    parameters: int
    source: str = ""  # a hash of what a person's own model was made from
    servable: Servable | None = None  # the torch module behind it, where there is one


def of_module(
    module: nn.Module, transform: Transform, categories: Sequence[str], entry: Entry
) -> Original:
    """Return a classifier that is a torch module, which gives logits."""
    torch.set_num_threads(cpu_quota())
    servable = Servable(module, transform).eval()
    return Original(
        entry,
        transform,
        categories,
        engine=servable.answer,
        convert=servable.convert,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        servable=servable,
    )


def check_crops(transform: Transform) -> Iterator[Crop]:
    """Yield what two forms of a model are compared with: the bundled pictures, then noise."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as picture:
            yield crop(picture.convert("RGB"), transform)
    noise = np.random.default_rng(seed=0)
    shape = (1, transform.crop_size, transform.crop_size, 3)
    for _ in range(NOISE_PICTURES):
        yield noise.integers(0, 256, shape, dtype=np.uint8)


def say(model_id: str, what: str) -> None:
    """Show progress to the person who is waiting."""
    print(f"{model_id}: {what}", file=sys.stderr, flush=True)
