"""What classifies behind each peer, as its environment says: torch as it comes, or our engine."""

import os
from collections.abc import Callable, Sequence

import requests

FETCH_S = 10

# From the bytes of some pictures to the names of their classes.
Classify = Callable[[Sequence[bytes]], list[str]]


def classifier() -> Classify:
    """Return what classifies pictures; each engine imports only what it needs."""
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
    return requests.get(url, timeout=FETCH_S).content
