"""What answers behind each peer: torch as it comes, or our engine."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# From the bytes of some pictures to the names of their classes.
Classify = Callable[[Sequence[bytes]], list[str]]


def classify_with(engine: str, model: str, weights: Path, threads: int) -> Classify:
    """Return what classifies pictures.

    Args:
        engine: ``eager`` or ``ours``.
        model: an id of the catalogue.
        weights: the benchmark's folder of weights.
        threads: of our engine; torch takes all cores by itself.
    """
    return _ours(model, weights, threads) if engine == "ours" else _eager(model, weights)


def _ours(model: str, weights: Path, threads: int) -> Classify:
    from imgserve.models import openvino_engine
    from tools.benchmarks.work import decoded

    classifier = openvino_engine.load(weights / "compiled", model, threads=threads)
    classifier.warm_up()

    def one(data: bytes) -> str:
        made = classifier(decoded(data, classifier.transform))
        return str(classifier.categories[int(made.probabilities.argmax())])

    return lambda pictures: [one(data) for data in pictures]


def _eager(model: str, weights: Path) -> Classify:
    import torch
    from PIL import Image

    module, entry = _module(model, weights)
    transform, categories = entry.transforms(), entry.meta["categories"]

    def classify(pictures: Sequence[bytes]) -> list[str]:
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
        with torch.no_grad():
            logits = module(torch.stack([transform(picture) for picture in opened]))
        return [str(categories[int(number)]) for number in logits.softmax(dim=1).argmax(dim=1)]

    return classify


def _module(model: str, weights: Path) -> tuple[Any, Any]:
    """Return torch's module with its weights, from a file that is here, and torchvision's entry."""
    import torch

    from imgserve.compile.torchvision_import import torchvision
    from imgserve.compile.weights import default_weights, trained

    entry = default_weights(model)
    kept = weights / "random" / f"{model}.pth"
    if not kept.exists():
        return trained(model, folder=weights / "checkpoints"), entry
    module = torchvision.models.get_model(model)
    module.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True))
    return module.eval(), entry
