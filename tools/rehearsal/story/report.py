"""What a rehearsal found: a table for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tools.benchmarks.machine import machine
from tools.rehearsal.story.images import megabytes
from tools.rehearsal.story.progress import Step
from tools.rehearsal.story.stage import Build

PURPOSES = ("base", "models", "code")
TITLE = "image, compressed"


def table(steps: Sequence[Step], builds: Sequence[Build], *, passed: bool) -> str:
    """Return the steps with their times and the images with their sizes."""
    width = max((len(step.name) for step in steps), default=0)
    lines = [f"{'step':{width}}  {'s':>7}"]
    lines += [f"{_name(step):{width}}  {step.seconds:7.1f}" for step in steps]
    lines += [f"{'all':{width}}  {sum(step.seconds for step in steps):7.1f}"]
    newest = {build.image: build for build in builds}  # of each image, the last one counts
    if newest:
        lines += ["", *_images(newest)]
    return "\n".join([*lines, "", "PASS" if passed else "FAIL"])


def document(
    steps: Sequence[Step], builds: Sequence[Build], models: Sequence[str], *, passed: bool
) -> dict[str, Any]:
    """Return all that was found, for JSON."""
    return {
        "passed": passed,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
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


def _name(step: Step) -> str:
    return f"{step.name} FAILED" if step.failure else step.name


def _images(newest: dict[str, Build]) -> list[str]:
    width = max(map(len, [TITLE, *newest]))
    lines = [f"{TITLE:{width}}" + "".join(f"{name:>9}" for name in ("MB", *PURPOSES))]
    for name, build in newest.items():
        sizes = _sizes(build)
        figures = [sum(sizes.values()), *(sizes[purpose] for purpose in PURPOSES)]
        lines.append(f"{name:{width}}" + "".join(f"{figure:9.1f}" for figure in figures))
    return lines


def _sizes(build: Build) -> dict[str, float]:
    return {name: megabytes(found) for name, found in build.layers.items()}
