"""Where the benchmark finds things and keeps them."""

import importlib.resources
import os
from pathlib import Path

import numpy as np
from PIL import Image

from tools.process import ROOT

HERE = Path(__file__).resolve().parent
# Committed: a folder for CPUs with matrix units and one for those without.
RESULTS = HERE / "results"
# Not committed: the peers' environments, compiled models, logs. Tests have a folder of their own.
SCRATCH = Path(os.environ.get("BENCH_FOLDER") or ROOT / ".bench")
WEIGHTS = SCRATCH / "weights"
LOGS = SCRATCH / "logs"
PICTURES = SCRATCH / "pictures"
# Results of a run that is too short to be committed.
DRAFTS = SCRATCH / "results"

# Megapixels: the photograph as it is (113 kB), a picture on the web, a phone's.
SMALL, MIDDLE, LARGE = SIZES = (0.3, 1.7, 12.0)
# Grain brings the larger ones to 0.3 bytes a pixel, as cameras write them.
GRAIN, QUALITY = 6, 90


def sample_photograph(megapixels: float = SMALL) -> Path:
    """Return a JPEG (CC0) of about so many megapixels; larger ones are enlarged, on first use."""
    source = Path(str(importlib.resources.files("skimage") / "data" / "rocket.jpg"))
    if megapixels == SMALL:
        return source
    path = PICTURES / f"rocket-{megapixels:g}.jpg"
    if not path.exists():
        PICTURES.mkdir(parents=True, exist_ok=True)
        enlarged(Image.open(source), megapixels).save(path, quality=QUALITY)
    return path


def enlarged(picture: Image.Image, megapixels: float) -> Image.Image:
    """Return an RGB picture with about so many megapixels, and grain."""
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    large = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    grain = np.random.default_rng(0).normal(0, GRAIN, (large.height, large.width, 1))
    return Image.fromarray((np.asarray(large) + grain).clip(0, 255).astype(np.uint8))
