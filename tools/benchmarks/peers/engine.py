"""What classifies behind each peer, as its environment says: torch as it comes, or our engine."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests

FETCH_S = 10

# From the bytes of some pictures to the names of their classes.
Classify = Callable[[Sequence[bytes]], list[str]]


def classifier() -> Classify:
    """Return what classifies pictures."""
    model, weights = os.environ["MODEL_NAME"], Path(os.environ["WEIGHTS_DIR"])
    if os.environ["BENCH_ENGINE"] == "ours":
        return _ours(model, weights, int(os.environ["THREADS"]))
    probabilities, categories = eager(model, weights)

    def classify(pictures: Sequence[bytes]) -> list[str]:
        return [categories[int(number)] for number in probabilities(pictures).argmax(dim=1)]

    return classify


def fetched(url: str) -> bytes:
    """Return the picture at an address, as most would write it."""
    return requests.get(url, timeout=FETCH_S).content


def _ours(model: str, weights: Path, threads: int) -> Classify:
    from tools.benchmarks import models  # here, as torch below: each engine brings only its own

    loaded = models.load(model, models.AUTO, threads, weights)
    return lambda pictures: [models.category(loaded, data) for data in pictures]


def eager(model: str, weights: Path) -> tuple[Callable[[Sequence[bytes]], Any], Sequence[str]]:
    """Return what finds (N, C) probabilities of N pictures, and the names of the classes."""
    import torch
    from PIL import Image

    from imgserve.compile.weights import default_weights
    from tools.benchmarks import torch_models

    module, entry = torch_models.module(model, weights), default_weights(model)
    transform = entry.transforms()

    def probabilities(pictures: Sequence[bytes]) -> Any:
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
        with torch.no_grad():
            logits = module(torch.stack([transform(picture) for picture in opened]))
        return logits.softmax(dim=1)

    return probabilities, entry.meta["categories"]
