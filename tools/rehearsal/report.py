"""What was built and found: the layers of images, a table for people, JSON for programs."""

import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import requests

from imgserve.machine import cpu_quota, memory_bytes
from tools.rehearsal.progress import Step

LIMIT_S = 60
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
COMPILES = "imgserve.compile"  # in the one step of the Dockerfiles that makes models
PURPOSES = ("base", "models", "code")
TITLE = "image, compressed"

Purpose = Literal["base", "models", "code"]


@dataclass(frozen=True)
class Layer:
    """One layer of an image.

    Attributes:
        digest: of its compressed content.
        size_bytes: compressed, as it is stored and pulled.
        made_by: the step of the Dockerfile.
    """

    digest: str
    size_bytes: int
    made_by: str


def http() -> requests.Session:
    """Return a session that goes straight to this machine, whatever proxy is set."""
    session = requests.Session()
    session.trust_env = False
    return session


def layers(image: str) -> list[Layer]:
    """Return the layers of an image (its full name with its tag), the lowest first."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    with http() as session:
        session.headers["Accept"] = ", ".join(MANIFESTS)
        manifest = _json(session, f"http://{host}/v2/{name}/manifests/{tag}")
        about = _json(session, f"http://{host}/v2/{name}/blobs/{manifest['config']['digest']}")
    steps = [step for step in about["history"] if not step.get("empty_layer")]
    return [
        Layer(layer["digest"], layer["size"], step.get("created_by", ""))
        for layer, step in zip(manifest["layers"], steps, strict=True)
    ]


def _json(session: requests.Session, url: str) -> Any:
    answer = session.get(url, timeout=LIMIT_S)
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


def megabytes(found: list[Layer]) -> float:
    """Return the size of some layers together."""
    return round(sum(layer.size_bytes for layer in found) / 1e6, 1)


@dataclass(frozen=True)
class Build:
    """A build that ended well.

    Attributes:
        image: its app image's short name.
        steps: the seconds that each step took, and `push`.
        layers: of its app image, by what they are for.
    """

    id: str
    image: str
    seconds: float
    steps: dict[str, float]
    layers: dict[Purpose, list[Layer]]


def table(steps: Sequence[Step], builds: Sequence[Build], *, passed: bool) -> str:
    """Return the steps with their times and the images with their sizes."""
    width = max((len(step.name) for step in steps), default=0)
    lines = [f"{'step':{width}}  {'s':>7}"]
    for step in steps:
        name = f"{step.name} FAILED" if step.failure else step.name
        lines.append(f"{name:{width}}  {step.seconds:7.1f}")
    lines += [f"{'all':{width}}  {sum(step.seconds for step in steps):7.1f}"]
    newest = {build.image: build for build in builds}  # of each image, the last one counts
    if newest:
        lines += ["", *_images(newest)]
    return "\n".join([*lines, "", "PASS" if passed else "FAIL"])


def _images(newest: dict[str, Build]) -> list[str]:
    width = max(map(len, [TITLE, *newest]))
    lines = [f"{TITLE:{width}}" + "".join(f"{name:>9}" for name in ("MB", *PURPOSES))]
    for name, build in newest.items():
        sizes = _sizes(build)
        figures = [sum(sizes.values()), *(sizes[purpose] for purpose in PURPOSES)]
        lines.append(f"{name:{width}}" + "".join(f"{figure:9.1f}" for figure in figures))
    return lines


def document(
    steps: Sequence[Step], builds: Sequence[Build], models: Sequence[str], *, passed: bool
) -> dict[str, Any]:
    """Return all that was found, for JSON."""
    return {
        "passed": passed,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "seconds": round(sum(step.seconds for step in steps), 1),
        "models": list(models),  # those the scripts were limited to
        "steps": [
            {
                "name": step.name,
                "seconds": round(step.seconds, 1),
                "notes": step.notes,
                "failure": step.failure,
            }
            for step in steps
        ],
        "builds": [asdict(build) | {"megabytes": _sizes(build)} for build in builds],
    }


def _sizes(build: Build) -> dict[str, float]:
    return {name: megabytes(found) for name, found in build.layers.items()}


def _machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(cpu_quota()),
        "memory": f"{memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }
