"""What classifies behind each peer, as its environment says: torch as it comes, or our engine."""

import os
from collections.abc import Callable, Sequence

import requests


def classifier() -> Callable[[Sequence[bytes]], list[str]]:
    """Return what names the classes of pictures; each engine imports only what it needs."""
    model = os.environ["MODEL_NAME"]
    if os.environ["BENCH_ENGINE"] == "ours":
        from tools.benchmarks.models import AUTO, load, predictions

        ours = load(model, AUTO, int(os.environ["THREADS"]))
        return lambda pictures: [predictions(ours, data)[0].category for data in pictures]

    from tools.benchmarks.torch_models import eager

    probabilities, names = eager(model)
    return lambda pictures: [names[int(number)] for number in probabilities(pictures).argmax(dim=1)]


def fetched(url: str) -> bytes:
    """Return the picture at an address, as most would write it."""
    return requests.get(url, timeout=10).content
