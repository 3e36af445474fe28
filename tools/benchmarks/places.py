"""Where the benchmark finds and keeps things."""

import importlib.resources
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Kept and committed.
RESULTS = ROOT / "tools" / "benchmarks" / "results"
# Not kept: peers' environments, compiled models, pictures, logs. Tests have one of their own.
SCRATCH = Path(os.environ.get("BENCH_FOLDER") or ROOT / ".bench")
WEIGHTS = SCRATCH / "weights"
PICTURES = SCRATCH / "pictures"
LOGS = SCRATCH / "logs"
# What a run makes that is too short to be kept.
PASSING = SCRATCH / "results"


def real_pictures() -> Path:
    """Return the folder of real pictures that scikit-image's wheel carries (CC0)."""
    return Path(str(importlib.resources.files("skimage") / "data"))
