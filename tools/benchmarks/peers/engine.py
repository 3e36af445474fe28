"""What classifies behind each peer, as its environment says: torch as it comes, or our engine."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

FETCH_S = 10

# From the bytes of some pictures to the names of their classes.
Classify = Callable[[Sequence[bytes]], list[str]]


def classifier() -> Classify:
    """Return what classifies pictures."""
    model, weights = os.environ["MODEL_NAME"], Path(os.environ["WEIGHTS_DIR"])
    if os.environ["BENCH_ENGINE"] == "ours":
        return _ours(model, weights, int(os.environ["THREADS"]))
    return _eager(model, weights)


def fetched(url: str) -> bytes:
    """Return the picture at an address, as most would write it."""
    return requests.get(url, timeout=FETCH_S).content


def _ours(model: str, weights: Path, threads: int) -> Classify:
    from tools.benchmarks import models  # here, as torch below: each engine brings only its own

    loaded = models.load(model, models.FP32, threads, weights)
    return lambda pictures: [models.category(loaded, data) for data in pictures]


def _eager(model: str, weights: Path) -> Classify:
    import torch
    from PIL import Image

    from imgserve.compile.weights import default_weights
    from tools.benchmarks import torch_models

    module, entry = torch_models.module(model, weights), default_weights(model)
    transform, categories = entry.transforms(), entry.meta["categories"]

    def classify(pictures: Sequence[bytes]) -> list[str]:
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
        with torch.no_grad():
            logits = module(torch.stack([transform(picture) for picture in opened]))
        return [str(categories[int(number)]) for number in logits.softmax(dim=1).argmax(dim=1)]

    return classify
