"""Real pictures for quantizing: one set for calibration, another to check the result.

They are a person's own labelled ones, or parts of photographs in two packages that quantizing
installs anyway. scikit-image's are in the public domain or CC0 (skimage/data/_fetchers.py),
scikit-learn's are CC BY 2.0 (sklearn/datasets/images/README.txt). No picture is passed on, only
ranges of numbers.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from imgserve.errors import EvaluationFailed, HttpError
from imgserve.evaluate.labels import labelled_pictures
from imgserve.models.compiled_model import Transform
from imgserve.models.transform import FILTERS, Crop, crop, least_side
from imgserve.pictures.decode import decode
from imgserve.settings import BackendSettings

SKIMAGE = "skimage", "data"
SKLEARN = "sklearn", "datasets/images"


LEAST_PHOTOS = 50  # of fewer, a single one is more than the percent that is judged
MOST_CALIBRATION = 300  # more change the ranges little


@dataclass(frozen=True)
class Sample:
    """Crops as a model sees them, each (1, H, W, 3) uint8."""

    calibration: Sequence[Crop]
    held_out: Sequence[Crop]
    labels: Sequence[int] = ()  # the classes of those held out, where they are known


@dataclass(frozen=True)
class Pictures:
    """Pictures of installed packages, and how crops are cut out of them."""

    names: dict[tuple[str, str], tuple[str, ...]]  # of files, by package and folder
    count: int  # of crops, spread evenly over the pictures
    smallest: float  # the least share of a picture's area that a crop covers
    jitter: float  # the largest share by which brightness, contrast and colour change
    seed: int  # so that the crops are the same each time


# Besides photographs also unusual pictures: the ranges must fit everything.
CALIBRATION = Pictures(
    {
        SKIMAGE: (
            *("astronaut.png", "brick.png", "camera.png", "clock_motion.png", "coins.png"),
            *("color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png"),
            *("moon.png", "page.png", "retina.jpg", "rocket.jpg"),
        ),
    },
    count=140,
    smallest=0.15,
    jitter=0.3,
    seed=1,
)
# Photographs of things that the classes name; none of their scenes is among those above.
HELD_OUT = Pictures(
    {
        SKIMAGE: ("chelsea.png", "coffee.png", "motorcycle_right.png"),
        SKLEARN: ("china.jpg", "flower.jpg"),
    },
    count=300,
    smallest=0.25,
    jitter=0.2,
    seed=2,
)


def bundled(transform: Transform) -> Sample:
    """Return parts of the packages' photographs."""
    return Sample([*crops(CALIBRATION, transform)], [*crops(HELD_OUT, transform)])


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


def crops(pictures: Pictures, transform: Transform) -> Iterator[Crop]:
    """Yield crops as a model sees them, each (1, H, W, 3) uint8."""
    random = np.random.default_rng(pictures.seed)
    opened = [Image.open(path).convert("RGB") for path in paths(pictures)]
    for picture in islice(cycle(opened), pictures.count):
        part = _part(picture, pictures.smallest, transform, random)
        yield np.asarray(_varied(part, pictures.jitter, random))[np.newaxis]


def paths(pictures: Pictures) -> Sequence[Path]:
    return [
        _package(module) / folder / name
        for (module, folder), names in pictures.names.items()
        for name in names
    ]


def _package(module: str) -> Path:
    """Return a package's folder without importing it, which is slow for these two."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module} is not installed: see requirements/quantize.txt")
    return Path(spec.origin).parent


def _part(
    picture: Image.Image, smallest: float, transform: Transform, random: np.random.Generator
) -> Image.Image:
    """Return a random part, with an aspect ratio from 3:4 to 4:3, resized to a square."""
    area = random.uniform(smallest, 1) * picture.width * picture.height
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(picture.width, int(np.sqrt(area * ratio)))
    height = min(picture.height, int(np.sqrt(area / ratio)))
    left = int(random.integers(picture.width - width + 1))
    top = int(random.integers(picture.height - height + 1))
    box = (left, top, left + width, top + height)
    size = (transform.crop_size, transform.crop_size)
    return picture.resize(size, FILTERS[transform.interpolation], box=box)


def _varied(part: Image.Image, jitter: float, random: np.random.Generator) -> Image.Image:
    """Return a part with other brightness, contrast and colour, mirrored half of the time."""
    if random.random() < 1 / 2:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        part = enhance(part).enhance(random.uniform(1 - jitter, 1 + jitter))
    return part
