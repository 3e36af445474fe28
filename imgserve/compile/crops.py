"""Crops that models are compared, calibrated and judged with, each (1, H, W, 3) uint8.

To quantize with, they are of a person's own labelled pictures, or parts of photographs in two
packages that quantizing installs anyway. scikit-image's are in the public domain or CC0
(skimage/data/_fetchers.py), scikit-learn's are CC BY 2.0 (sklearn/datasets/images/README.txt). No
picture is passed on, only ranges of numbers.
"""

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from imgserve.errors import EvaluationFailed, HttpError
from imgserve.evaluate import labelled_pictures
from imgserve.models.compiled_model import Transform
from imgserve.models.transform import Crop, crop, least_side
from imgserve.pictures.decode import decode
from imgserve.settings import BackendSettings

SAMPLES = Path(__file__).parent.parent / "samples"
NOISE_PICTURES = 4
LEAST_PHOTOS = 50  # of fewer, a single one is more than the percent that is judged
MOST_CALIBRATION = 300  # more change the ranges little


class Sample(NamedTuple):
    """Crops to quantize with."""

    calibration: Sequence[Crop]
    held_out: Sequence[Crop]
    labels: Sequence[int] = ()  # the classes of those held out, where they are known


# Names of pictures by package. Besides photographs also unusual ones: the ranges must fit all.
CALIBRATION = {
    "skimage.data": (
        *("astronaut.png", "brick.png", "camera.png", "clock_motion.png", "coins.png"),
        *("color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png"),
        *("moon.png", "page.png", "retina.jpg", "rocket.jpg"),
    ),
}
# Photographs of things that the classes name; none of their scenes is among those above.
HELD_OUT = {
    "skimage.data": ("chelsea.png", "coffee.png", "motorcycle_right.png"),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}


def check_crops(transform: Transform) -> Iterator[Crop]:
    """Yield what two forms of a model are compared with: the bundled pictures, then noise."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as picture:
            yield crop(picture.convert("RGB"), transform)
    noise = np.random.default_rng(seed=0)
    shape = (1, transform.crop_size, transform.crop_size, 3)
    for _ in range(NOISE_PICTURES):
        yield noise.integers(0, 256, shape, dtype=np.uint8)


def bundled(transform: Transform) -> Sample:
    """Return parts of the packages' photographs, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        calibration = _parts(CALIBRATION, transform, count=140, smallest=0.15, jitter=0.3)
        return Sample(calibration, _parts(HELD_OUT, transform, 300, smallest=0.25, jitter=0.2))


def _parts(
    names: Mapping[str, Sequence[str]],
    transform: Transform,
    count: int,
    *,
    smallest: float,
    jitter: float,
) -> list[Crop]:
    """Return random parts of pictures, spread evenly over them.

    Each covers a share of the picture's area, the ``smallest`` or more; brightness, contrast and
    colour change by a share, ``jitter`` or less.
    """
    vary = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                transform.crop_size,
                scale=(smallest, 1),
                interpolation=transforms.InterpolationMode(transform.interpolation),
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter),
        ]
    )
    files = [
        importlib.resources.files(package) / name for package in names for name in names[package]
    ]
    opened = [Image.open(str(file)).convert("RGB") for file in files]
    return [np.asarray(vary(picture))[np.newaxis] for picture in islice(cycle(opened), count)]


def labelled(folder: Path, categories: Sequence[str], transform: Transform) -> Sample:
    """Return a person's own pictures: every second one for calibration.

    Raises:
        EvaluationFailed: they are too few, or one has no class of the model's or cannot be read.
    """
    pictures = labelled_pictures(folder, categories)
    if len(pictures) < LEAST_PHOTOS:
        raise EvaluationFailed(
            f"{folder} has {len(pictures)} pictures; int8 needs {LEAST_PHOTOS} to be judged by"
        )
    held_out = pictures[::2]
    return Sample(
        [_read(picture.path, transform) for picture in pictures[1::2][:MOST_CALIBRATION]],
        [_read(picture.path, transform) for picture in held_out],
        [picture.class_id for picture in held_out],
    )


def _read(path: Path, transform: Transform) -> Crop:
    limit_pixels, side = BackendSettings().max_image_pixels, least_side(transform)
    try:
        decoded = decode(path.read_bytes(), limit_pixels=limit_pixels, least_side=side)
    except HttpError as exc:
        raise EvaluationFailed(f"{path}: {exc}") from exc
    return crop(decoded.picture, transform)
