"""How often a model is right about labelled photographs: ours, and torch on full-size pictures."""

import io
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from imgserve.contract import PredictOptions
from imgserve.evaluate import Labelled, labelled_pictures
from imgserve.machine import cpu_quota
from imgserve.models.compiled_model import FP32, INT8
from tools.benchmarks import models
from tools.benchmarks.models import AUTO, LIMIT_PIXELS, MODEL
from tools.benchmarks.parts.limit import TORCH
from tools.benchmarks.paths import MIDDLE, QUALITY, SMALL, WEIGHTS, enlarged
from tools.benchmarks.plan import Plan
from tools.benchmarks.records import Row, Rows
from tools.process import Failed

TOP = 5

# From a picture's file to its most probable classes, the first first.
Classify = Callable[[bytes], list[int]]


def measure(plan: Plan, remarks: list[str]) -> Rows:
    """Yield how often each way is right about a folder's pictures, as they are and enlarged.

    Raises:
        Failed: no folder is named.
        EvaluationFailed: there are no labelled pictures in it.
    """
    if plan.photos is None:
        raise Failed("accuracy needs labelled photographs: PHOTOS=folder (see imgserve.evaluate)")
    remarks += models.ensure([MODEL], plan.precisions)
    precisions = models.available(MODEL, (AUTO, FP32, INT8))
    ways = {TORCH: _torch(), **{precision: _ours(precision) for precision in precisions}}
    pictures = labelled_pictures(plan.photos, models.load(MODEL, FP32, 1).categories)
    for megapixels in (SMALL, MIDDLE):
        row: Row = {"model": MODEL, "megapixels": megapixels, "pictures": len(pictures)}
        rows = [{**row, "way": way, "top1": 0, "top5": 0} for way in ways]
        for data, label in _files(pictures, megapixels):
            for counts, classify in zip(rows, ways.values(), strict=True):
                named = classify(data)
                counts["top1"] += label == named[0]
                counts["top5"] += label in named
        yield from rows


def _files(pictures: Sequence[Labelled], megapixels: float) -> Iterator[tuple[bytes, int]]:
    """Yield pictures as files and the numbers of their classes."""
    for path, label in pictures:
        if megapixels == SMALL:
            yield path.read_bytes(), label
        else:
            file, large = io.BytesIO(), enlarged(Image.open(path).convert("RGB"), megapixels)
            large.save(file, "JPEG", quality=QUALITY)
            yield file.getvalue(), label


def _ours(precision: str) -> Classify:
    classifier, options = models.load(MODEL, precision, cpu_quota()), PredictOptions(top_k=TOP)

    def classify(data: bytes) -> list[int]:
        made = classifier.classify(data, options, limit_pixels=LIMIT_PIXELS)
        return [prediction.class_id for prediction in made.predictions]

    return classify


def _torch() -> Classify:
    """Return torchvision's transform of the whole picture and its module, as its documents do."""
    from tools.benchmarks.peers.engine import eager  # here: it imports torch

    probabilities, _ = eager(MODEL, WEIGHTS)
    return lambda data: probabilities([data])[0].topk(TOP).indices.tolist()
