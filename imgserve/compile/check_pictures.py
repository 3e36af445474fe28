"""The pictures that two forms of a model are compared with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from imgserve.models.compiled_model import Transform
from imgserve.models.transform import Crop, crop

SAMPLES = Path(__file__).parent.parent / "samples"
NOISE_PICTURES = 4


def check_pictures(transform: Transform) -> Iterator[Crop]:
    """Return crops of the bundled pictures, then noise, each (1, H, W, 3) uint8."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as picture:
            yield crop(picture.convert("RGB"), transform)
    noise = np.random.default_rng(seed=0)
    shape = (1, transform.crop_size, transform.crop_size, 3)
    for _ in range(NOISE_PICTURES):
        yield noise.integers(0, 256, shape, dtype=np.uint8)
