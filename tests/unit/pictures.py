"""Real pictures for tests: those that the wheel of scikit-image carries (CC0)."""

import importlib.resources
import io
from pathlib import Path
from typing import Any

from PIL import Image

from imgserve.models.classifier import Classifier, Probabilities, crop

FOLDER = Path(str(importlib.resources.files("skimage") / "data"))
# A cat, a cup, a rocket; wide, tall, square, tiny, larger than any resize.
NAMES = ("chelsea.png", "coffee.png", "rocket.jpg", "page.png", "cell.png", "retina.jpg")


def path(name: str) -> Path:
    return FOLDER / name


def picture(name: str) -> Image.Image:
    with Image.open(path(name)) as opened:
        return opened.convert("RGB")


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    """Return a picture's file."""
    file = io.BytesIO()
    picture.copy().save(file, kind, **how)  # a copy: saving leaves settings behind
    return file.getvalue()


def shapes() -> dict[str, Image.Image]:
    """Return pictures of all shapes, by a name for the test's report."""
    cat = picture("chelsea.png")
    shaped = {name: picture(name) for name in NAMES}
    sizes = ((1, 1), (1, 300), (300, 1), (17, 5), (224, 224), (256, 256), (233, 500), (1999, 257))
    sizes += ((50, 800), (1000, 60), (8, 799), (8, 800))
    shaped |= {f"cat{width}x{height}": cat.resize((width, height)) for width, height in sizes}
    return shaped


def probabilities(classifier: Classifier, picture: Image.Image) -> Probabilities:
    """Return (C,) probabilities of an RGB picture, in the order of the model's categories."""
    row: Probabilities = classifier.engine(crop(picture, classifier.transform))[0]
    return row
