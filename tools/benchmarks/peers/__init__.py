"""What people would use instead, each written as its own documentation begins.

These modules run in the peers' environments (see install.sh), not in ours. ``BENCH_ENGINE`` says
what classifies: ``eager`` is torch as it comes, ``ours`` our compiled model and our preprocessing.
"""

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
