"""Where the benchmark finds things and keeps them."""

import importlib.resources
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Committed.
RESULTS = HERE / "results"
# Not committed: the peers' environments, compiled models, logs. Tests have a folder of their own.
SCRATCH = Path(os.environ.get("BENCH_FOLDER") or ROOT / ".bench")
WEIGHTS = SCRATCH / "weights"
LOGS = SCRATCH / "logs"
# Results of a run that is too short to be committed.
DRAFTS = SCRATCH / "results"


def photographs() -> Path:
    """Return the folder of photographs (CC0) in scikit-image's wheel."""
    return Path(str(importlib.resources.files("skimage") / "data"))


def sample_photograph() -> Path:
    """Return a JPEG of the usual size: 113 kB, 0.27 megapixels."""
    return photographs() / "rocket.jpg"
