"""How much memory one more loaded model takes, measured in a process of its own.

In a server the figure would drown in what requests take meanwhile. The model is loaded twice and
the second time counts: the first also pays for what all models share.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from imgserve.machine import cpu_quota
from imgserve.models.openvino_engine import OpenVinoEngine


def footprint_bytes(graph: Path, crop_size: int) -> int:
    """Return what a compiled model takes, measured in another process.

    Args:
        graph: the model's graph.
        crop_size: side of the picture it sees, pixels.
    """
    command = [sys.executable, "-m", "imgserve.models.footprint", str(graph), str(crop_size)]
    measured = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return int(measured.stdout)


def measure(graph: Path, crop_size: int) -> int:
    """Return what the second of two loaded models adds to this process, in bytes, at least 1."""
    picture = np.zeros((1, crop_size, crop_size, 3), dtype=np.uint8)
    resident = psutil.Process().memory_info
    kept = []
    before = 0
    for _ in range(2):
        before = resident().rss
        kept.append(OpenVinoEngine(graph, threads=cpu_quota()))
        kept[-1](picture)
    return max(1, resident().rss - before)


if __name__ == "__main__":
    sys.stdout.write(str(measure(Path(sys.argv[1]), int(sys.argv[2]))))
