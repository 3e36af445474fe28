"""How often a model is right about labelled photographs: ours, and torch on full-size pictures."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from imgserve.contract import PredictOptions
from imgserve.evaluate.labels import Labelled, labelled_pictures
from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.loop import TORCH
from tools.benchmarks.models import AUTO, FP32, INT8, LIMIT_PIXELS, MODEL
from tools.benchmarks.paths import MIDDLE, QUALITY, SMALL, WEIGHTS, enlarged
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import Failed, say
from tools.benchmarks.records import Record, begun

TOP = 5

# From a picture's file to its most probable classes, the first first.
Classify = Callable[[bytes], list[int]]


def measure(plan: Plan, photos: Path | None) -> Record:
    """Return how often each way is right about a folder's pictures, as they are and enlarged.

    Raises:
        Failed: no folder is named.
        EvaluationFailed: there are no labelled pictures in it.
    """
    if photos is None:
        raise Failed("accuracy needs labelled photographs: PHOTOS=folder (see imgserve.evaluate)")
    record = begun("accuracy", plan)
    record.remarks += models.ensure([MODEL], plan.precisions)
    ways = {TORCH: _torch(), **{precision: _ours(precision) for precision in _precisions()}}
    pictures = labelled_pictures(photos, models.load(MODEL, FP32, 1).categories)
    for megapixels in (SMALL, MIDDLE):
        rights: dict[str, list[int]] = {way: [] for way in ways}
        for data, label in _files(pictures, megapixels):
            for way, classify in ways.items():
                named = classify(data)
                rights[way].append(named.index(label) if label in named else TOP)
        for way, places in rights.items():
            counts = {"top1": places.count(0), "top5": len(places) - places.count(TOP)}
            row = {"model": MODEL, "megapixels": megapixels, "way": way, "pictures": len(places)}
            record.rows.append(row | counts)
            say(f"accuracy, {megapixels} MP: {way}: {counts} of {len(places)}")
    return record


def _precisions() -> Iterator[str]:
    for precision in (AUTO, FP32, INT8):
        if models.is_compiled(MODEL, precision):
            yield precision


def _files(pictures: Sequence[Labelled], megapixels: float) -> Iterator[tuple[bytes, int]]:
    """Yield pictures as files and the numbers of their classes."""
    for path, label in pictures:
        if megapixels == SMALL:
            yield path.read_bytes(), label
        else:
            file = io.BytesIO()
            enlarged(Image.open(path).convert("RGB"), megapixels).save(
                file, "JPEG", quality=QUALITY
            )
            yield file.getvalue(), label


def _ours(precision: str) -> Classify:
    classifier = models.load(MODEL, precision, cpu_quota())

    def classify(data: bytes) -> list[int]:
        options = PredictOptions(top_k=TOP)
        made = classifier.classify(data, options, limit_pixels=LIMIT_PIXELS)
        return [prediction.class_id for prediction in made.predictions]

    return classify


def _torch() -> Classify:
    """Return torchvision's transform of the whole picture and its module, as its documents do."""
    from tools.benchmarks.peers.engine import eager  # here: it imports torch

    probabilities, _ = eager(MODEL, WEIGHTS)
    return lambda data: probabilities([data])[0].topk(TOP).indices.tolist()
