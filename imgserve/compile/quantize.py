"""Quantize a compiled graph to int8, and refuse one that answers too differently.

Weights and activations become 8-bit numbers; NNCF finds their ranges from calibration pictures.
Normalisation and softmax stay in float32. Some layers lose too much accuracy, so there are several
choices of layers that stay in float32, fastest first. The first choice that is good enough on
pictures not used for calibration is taken: where their classes are known, one that is right about
as often as the original, else one that agrees with it.

The pictures, (1, H, W, 3) uint8 crops, are a person's own, or parts of photographs in two packages
that quantizing installs anyway. scikit-image's are in the public domain or CC0
(skimage/data/_fetchers.py), scikit-learn's are CC BY 2.0 (sklearn/datasets/images/README.txt). No
picture is passed on, only ranges of numbers.
"""

import contextlib
import errno
import importlib.resources
import io
import logging
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle, islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from imgserve.compile.original import say
from imgserve.errors import CompileMismatch, EvaluationFailed, HttpError
from imgserve.evaluate import labelled_pictures
from imgserve.machine import cpu_quota
from imgserve.models.classifier import Crop, Engine, Probabilities, crop, least_side
from imgserve.models.compiled_model import Quantization, Transform
from imgserve.models.openvino_engine import OpenVinoEngine, openvino
from imgserve.pictures.decode import decode
from imgserve.settings import BackendSettings

# The share of pictures in which int8 must find the same class as fp32.
LEAST_AGREEMENT = 0.97
# If fp32 finds two classes whose probabilities are this close, both count as the same answer: int8
# costs about 0.01 of a probability, and many crops show more than one thing.
NEAR_TIE = 0.01
INPUTS = ("Parameter", "Constant")  # of layers, which are none
# Of pictures whose classes are known: by how much less often int8 may be right about them.
MOST_LOST = 0.01
LEAST_PHOTOS = 50  # of fewer, a single one is more than the percent that is judged
MOST_CALIBRATION = 300  # more change the ranges little
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


class Sample(NamedTuple):
    """Crops to quantize with."""

    calibration: Sequence[Crop]
    held_out: Sequence[Crop]
    labels: Sequence[int] = ()  # the classes of those held out, where they are known


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
    filter_ = transforms.InterpolationMode(transform.interpolation)
    vary = nn.Sequential(
        transforms.RandomResizedCrop(transform.crop_size, (smallest, 1), interpolation=filter_),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter),
    )
    files = [
        importlib.resources.files(package) / name for package in names for name in names[package]
    ]
    opened = [Image.open(str(file)).convert("RGB") for file in files]
    return [np.asarray(vary(picture))[np.newaxis] for picture in islice(cycle(opened), count)]


def labelled(folder: Path, categories: Sequence[str], transform: Transform) -> Sample:
    """Return a person's own pictures: every second one for calibration.

    EvaluationFailed where they are too few, or one has no class of the model's or cannot be read.
    """
    pictures = labelled_pictures(folder, categories)
    if len(pictures) < LEAST_PHOTOS:
        raise EvaluationFailed(
            f"{folder} has {len(pictures)} pictures; int8 needs {LEAST_PHOTOS} to be judged by"
        )
    held_out = pictures[::2]
    return Sample(
        [_read(path, transform) for path, _ in pictures[1::2][:MOST_CALIBRATION]],
        [_read(path, transform) for path, _ in held_out],
        [class_id for _, class_id in held_out],
    )


def _read(path: Path, transform: Transform) -> Crop:
    limit_pixels, side = BackendSettings().max_image_pixels, least_side(transform)
    try:
        picture, _ = decode(path.read_bytes(), limit_pixels=limit_pixels, least_side=side)
    except HttpError as exc:
        raise EvaluationFailed(f"{path}: {exc}") from exc
    return crop(picture, transform)


def quantize(
    model_id: str, graph: Path, sample: Sample, out: Path, least_agreement: float
) -> Quantization:
    """Write a float32 graph in int8; return how it was made and how good it is.

    CompileMismatch where no choice of layers is good enough.
    """
    expected = _answers(graph, sample.held_out)
    tried = []
    for floating, layers in choices(openvino.Core().read_model(graph)).items():
        say(model_id, f"quantizing; in float32 stays {floating}")
        _write(graph, sample.calibration, layers, out)
        found = compare(expected, _answers(out, sample.held_out), floating, sample.labels)
        say(model_id, _in_words(found))
        if _is_good_enough(found, least_agreement):
            return found
        tried.append(found)
    best = max(tried, key=lambda one: (one.right or 0, one.agreement))
    short = f"over {MOST_LOST:.0%} less" if sample.labels else f"under {least_agreement:.0%}"
    raise CompileMismatch(f"{_in_words(best)} at best, which is {short}: use PRECISION=fp32")


def _is_good_enough(found: Quantization, least_agreement: float) -> bool:
    if found.right is None or found.right_in_fp32 is None:
        return found.agreement >= least_agreement
    return round(found.right_in_fp32 - found.right, 6) <= MOST_LOST


def _in_words(found: Quantization) -> str:
    of = f"of {found.pictures} pictures"
    if found.right is None:
        return f"int8 finds the same class as fp32 in {found.agreement:.1%} {of}"
    return f"int8 is right about {found.right:.1%} {of}, fp32 about {found.right_in_fp32:.1%}"


def _answers(graph: Path, crops: Sequence[Crop]) -> Probabilities:
    """Return (N, C) probabilities of N pictures."""
    engine: Engine = OpenVinoEngine(graph, threads=cpu_quota())
    return np.concatenate([engine(crop) for crop in crops])


def compare(
    expected: Probabilities, actual: Probabilities, floating: str, labels: Sequence[int] = ()
) -> Quantization:
    """Return how well (N, C) probabilities in int8 agree with those in fp32, and with N labels."""
    rows = np.arange(len(expected))
    chosen = actual.argmax(axis=1)
    short = expected.max(axis=1) - expected[rows, chosen]
    finite = np.isfinite(actual).all(axis=1)  # of NaN, argmax would be arbitrary
    return Quantization(
        floating,
        agreement=float((finite & (short <= NEAR_TIE)).mean()),
        same_class=float((finite & (short == 0)).mean()),
        pictures=len(expected),
        largest_difference=float(np.abs(expected - actual).max()),
        right=float((finite & (chosen == labels)).mean()) if labels else None,
        right_in_fp32=float((expected.argmax(axis=1) == labels).mean()) if labels else None,
    )


def _write(graph: Path, calibration: Sequence[Crop], floating: list[str], out: Path) -> None:
    """Write a graph in int8 by NNCF, with some layers in float32.

    Ranges span the smallest and the largest number seen. NNCF's default, the mean of the largest
    per picture, cuts off bright parts. Models with attention need NNCF's own settings for them.
    """
    model = openvino.Core().read_model(graph)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # from NNCF's dependencies; the result is checked
        import nncf  # here: it takes seconds, and fp32 does not need it
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level would change handlers
        whole_range = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        )
        attention = has_attention(model)
        quantized = nncf.quantize(
            model,
            nncf.Dataset(calibration),
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
            ignored_scope=nncf.IgnoredScope(names=floating),
            advanced_parameters=None if attention else whole_range,
        )
    save_graph(quantized, out)


def save_graph(model: Any, path: Path) -> None:
    """Write a graph and its weights in full precision; OSError says where the disk is full."""
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as exc:  # it does not say why
        constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
        if shutil.disk_usage(path.parent).free > sum(one.get_byte_size() for one in constants):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent)) from exc


def has_attention(model: Any) -> bool:
    """Return whether a classifier has a softmax besides its last one, or attention in one layer."""
    kinds = [layer.get_type_name() for layer in model.get_ops()]
    return kinds.count("Softmax") > 1 or "ScaledDotProductAttention" in kinds


def choices(model: Any) -> dict[str, list[str]]:
    """Return the layers that may stay in float32, by a description; the fastest choice first.

    Depthwise convolutions cost little time but lose most accuracy, because their channels share one
    range although their sizes differ. The smaller their feature maps, the more they lose and the
    less time they take, so those on the smallest maps always stay in float32. For EfficientNet-Lite
    this lowers the largest error of a probability from 0.3 to 0.1.
    """
    ordered = [op for op in model.get_ordered_ops() if op.get_type_name() not in INPUTS]
    found = [layer for layer in ordered if "Convolution" in layer.get_type_name()]
    depthwise = [layer for layer in found if layer.get_type_name() == "GroupConvolution"]
    heights = [layer.get_output_partial_shape(0)[2].get_length() for layer in depthwise]
    first_three = "normalisation, the first three convolutions"
    kept = {
        f"{first_three}, depthwise ones on maps up to {most} pixels high": (
            found[:3]
            + [layer for layer, height in zip(depthwise, heights, strict=True) if height <= most]
        )
        for most in sorted(set(heights))
    }
    if not depthwise:
        kept = {"normalisation": [], "normalisation, the first convolution": found[:1]}
        kept[first_three] = found[:3]
    normalising = list(takewhile(lambda layer: layer is not found[0], ordered))
    return {
        name: list(dict.fromkeys(layer.get_friendly_name() for layer in (*normalising, *layers)))
        for name, layers in kept.items()
    }
