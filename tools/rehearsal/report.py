"""What was built: the layers of images and the times of builds; all of it as JSON."""

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import requests

from imgserve.machine import cpu_quota
from tools.rehearsal.progress import Step

LIMIT_S = 60
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
COMPILES = "imgserve.compile"  # in the one step of the Dockerfiles that makes models

Purpose = Literal["base", "models", "code"]


@dataclass(frozen=True)
class Layer:
    digest: str  # of its compressed content
    size_bytes: int  # compressed, as it is stored and pulled
    made_by: str  # the step of the Dockerfile


@dataclass(frozen=True)
class Build:
    """A build that ended well."""

    id: str
    image: str  # its app image's short name
    seconds: float
    steps: dict[str, float]  # the seconds that each took, and `push`
    layers: dict[Purpose, list[Layer]]  # of its app image, by what they are for

    @property
    def megabytes(self) -> dict[str, float]:
        """Return the size of its layers by what they are for."""
        sizes = {name: sum(one.size_bytes for one in found) for name, found in self.layers.items()}
        return {name: round(size / 1e6, 1) for name, size in sizes.items()}


def layers(image: str) -> list[Layer]:
    """Return the layers of an image (its full name with its tag), the lowest first."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    manifest = _json(f"http://{host}/v2/{name}/manifests/{tag}")
    about = _json(f"http://{host}/v2/{name}/blobs/{manifest['config']['digest']}")
    steps = [step for step in about["history"] if not step.get("empty_layer")]
    return [
        Layer(layer["digest"], layer["size"], step.get("created_by", ""))
        for layer, step in zip(manifest["layers"], steps, strict=True)
    ]


def _json(url: str) -> Any:
    answer = requests.get(url, headers={"Accept": MANIFEST}, timeout=LIMIT_S)
    answer.raise_for_status()
    return answer.json()


def by_purpose(base: list[Layer], app: list[Layer]) -> dict[Purpose, list[Layer]]:
    """Return an app image's layers by what they are for, given those of its base image."""
    above = app[len(base) :]
    return {
        "base": app[: len(base)],
        "models": [layer for layer in above if COMPILES in layer.made_by],
        "code": [layer for layer in above if COMPILES not in layer.made_by],
    }


def document(steps: Sequence[Step], builds: Sequence[Build]) -> dict[str, Any]:
    """Return what a rehearsal that has passed found, for JSON."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "passed": True,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu[1] if cpu else platform.machine(), "cores": str(cpu_quota())},
        "steps": [
            {"name": step.name, "seconds": round(step.seconds, 1), "notes": step.notes}
            for step in steps
        ],
        "builds": [
            {name: getattr(build, name) for name in ("image", "seconds", "steps", "megabytes")}
            for build in builds
        ],
    }
