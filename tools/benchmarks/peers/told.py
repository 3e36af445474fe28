"""What a peer is told by its environment."""

import os
from pathlib import Path

import requests

from tools.benchmarks.peers.engines import Classify, classify_with

FETCH_S = 10


def classifier() -> Classify:
    """Return what classifies pictures, as the environment says."""
    return classify_with(
        os.environ["BENCH_ENGINE"],
        os.environ["MODEL_NAME"],
        Path(os.environ["WEIGHTS_DIR"]),
        int(os.environ["THREADS"]),
    )


def port() -> int:
    """Return the port to listen on."""
    return int(os.environ["PORT"])


def fetched(url: str) -> bytes:
    """Return the picture at an address, as most would write it."""
    return requests.get(url, timeout=FETCH_S).content
