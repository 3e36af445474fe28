"""What is measured, how much of it, and where things are kept."""

import importlib.resources
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from imgserve.models.catalogue import EMBEDDED, catalogue
from imgserve.models.compiled_model import PRECISIONS
from tools.process import ROOT

HERE = Path(__file__).resolve().parent
# Committed: a folder for CPUs with matrix units and one for those without.
RESULTS = HERE / "results"
# Not committed: the peers' environments, compiled models, logs. Tests have a folder of their own.
SCRATCH = Path(os.environ.get("BENCH_FOLDER") or ROOT / ".bench")
WEIGHTS = SCRATCH / "weights"
# Results of a run that is too short to be committed.
DRAFTS = SCRATCH / "results"

MODEL = EMBEDDED[0]
HUB = tuple(model for model in catalogue(None) if model not in EMBEDDED)

# Megapixels: the photograph as it is (113 kB), a picture on the web, a phone's.
SMALL, _, LARGE = SIZES = (0.3, 1.7, 12.0)
# Grain brings the larger ones to 0.3 bytes a pixel, as cameras write them.
GRAIN, QUALITY = 6, 90


@dataclass(frozen=True)
class Plan:
    """How much is measured; by default all."""

    name: str = "full"  # stands in the results and in the report
    rounds: int = 3  # of everything, interleaved
    # Seconds of load on a server, by number of clients: those first that are compared with the
    # limit, which is measured before them. The slowest server needs two seconds to answer 32 of
    # them once. Larger pictures are asked for by URL only.
    load_s: Mapping[int, float] = field(default_factory=lambda: {8: 3, 32: 5, 1: 2})
    large_load_s: Mapping[int, float] = field(default_factory=lambda: {8: 4, 32: 7})
    loop_s: float = 3  # of a bare loop
    precisions: tuple[str, ...] = PRECISIONS  # to compile in; what is compiled already takes part
    models: tuple[str, ...] = (*EMBEDDED, *HUB)  # whose cold start and latency are measured
    servers: tuple[str, ...] = ()  # names of those that take part; empty for all
    photos: Path | None = None  # a folder of labelled photographs
    out: Path = RESULTS  # a folder of results


FULL = Plan()
QUICK = Plan(
    "quick",
    rounds=1,
    load_s={8: 1, 32: 2, 1: 1},
    large_load_s={8: 1, 32: 2},
    loop_s=0.5,
    precisions=PRECISIONS[:1],
    models=(MODEL,),
    servers=("v1", "v1_int8", "v2", "v3", "original_eager", "original_ours"),
    out=DRAFTS,
)


def sample_photograph(megapixels: float = SMALL) -> Path:
    """Return a JPEG (CC0) of about so many megapixels; larger ones are enlarged, on first use."""
    source = Path(str(importlib.resources.files("skimage") / "data" / "rocket.jpg"))
    if megapixels == SMALL:
        return source
    path = SCRATCH / "pictures" / f"rocket-{megapixels:g}.jpg"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(enlarged(source, megapixels))
    return path


def enlarged(photograph: Path, megapixels: float) -> bytes:
    """Return a photograph's file as it is, or as a JPEG of about so many megapixels, with grain."""
    if megapixels == SMALL:
        return photograph.read_bytes()
    picture, file = Image.open(photograph).convert("RGB"), io.BytesIO()
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    large = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    grain = np.random.default_rng(0).normal(0, GRAIN, (large.height, large.width, 1))
    pixels = (np.asarray(large) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
