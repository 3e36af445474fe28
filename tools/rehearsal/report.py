"""What a rehearsal found: a table for people, JSON for programs."""

import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgserve.machine import cpu_quota, memory_bytes
from tools.rehearsal.images import megabytes
from tools.rehearsal.progress import Step
from tools.rehearsal.stage import Build

PURPOSES = ("base", "models", "code")
TITLE = "image, compressed"


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
