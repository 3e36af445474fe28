"""How often int8 and fp32 find the same class: on real pictures and on parts of them."""

from collections.abc import Iterator
from itertools import product

import msgspec
from PIL import Image

from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import PRECISIONS
from tools.benchmarks import models
from tools.benchmarks.places import real_pictures
from tools.benchmarks.plan import EMBEDDED, Plan
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

# Photographs in colour, of scikit-image's wheel; int8 was calibrated on none of these.
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "motorcycle_left.png")
# A part is a square of this share of the shorter side, at each of so many places.
SHARES = (1.0, 0.8, 0.6, 0.45)
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Row(msgspec.Struct, frozen=True):
    """How many pictures were looked at, and of how many both find the same class.

    Attributes:
        fp32_mb: size of the weights on disk; so int8_mb.
    """

    model: str
    pictures: int
    same: int
    fp32_mb: float
    int8_mb: float


def measure(plan: Plan) -> Record:
    """Return the agreement of every model whose weights are trained ones."""
    record = begun("agreement", plan)
    chosen = [model for model in plan.models if model in EMBEDDED]
    remarks = models.ensure(chosen, plan.precisions)
    rows = [_row(model) for model in chosen if "int8" in models.available(model)]
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _row(model: str) -> Row:
    fp32, int8 = (models.load(model, each, "openvino", 2) for each in PRECISIONS)
    pairs = [(_class(fp32, each), _class(int8, each)) for each in parts()]
    sizes_mb = [_weights_mb(model, each) for each in PRECISIONS]
    row = Row(model, len(pairs), sum(one == other for one, other in pairs), *sizes_mb)
    say(f"agreement: {model}: the same class of {row.same} of {row.pictures} pictures")
    return row


def _weights_mb(model: str, precision: str) -> float:
    return models.graph(model, precision).with_suffix(".bin").stat().st_size / 1e6


def _class(classifier: Classifier, picture: Image.Image) -> int:
    return int(classifier(picture).probabilities.argmax())


def parts() -> Iterator[Image.Image]:
    """Yield squares of real pictures."""
    for name in PHOTOGRAPHS:
        with Image.open(real_pictures() / name) as opened:
            picture = opened.convert("RGB")
        for left, top, side in _squares(picture.size):
            yield picture.crop((left, top, left + side, top + side))


def _squares(size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return left, top and side of each part, each once."""
    width, height = size
    found = []
    for share, across, down in product(SHARES, STEPS, STEPS):
        side = round(share * min(size))
        found.append((round(across * (width - side)), round(down * (height - side)), side))
    return list(dict.fromkeys(found))
