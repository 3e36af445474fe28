"""The records are complete, and everything can be deleted."""

import time
from collections.abc import Callable, Collection
from typing import Any

import yaml

from tools.rehearsal.run.docker import OWNER
from tools.rehearsal.story.preparing import left
from tools.rehearsal.story.progress import StepFailed
from tools.rehearsal.story.stage import Stage

LIMIT_S = 60  # containers have ten seconds to end


def read_deliverables(stage: Stage, versions: Collection[str]) -> None:
    """See that deliverables.yaml has the ids and addresses of all that was rolled out."""
    with stage.progress.step("read deliverables.yaml") as step:
        text = (stage.rehearsal.source / "deliverables.yaml").read_text("utf-8")
        services = yaml.safe_load(text)["services"]
        sides = [pair for version in versions for pair in _sides(services[version], version)]
        ours = {name: side for name, side in sides if _is_ours(name, stage)}
        expected = {each.id for each in stage.builds}, set(stage.urls.values())
        for name, side in ours.items():
            for field, known in zip(("build_id", "service_url"), expected, strict=True):
                if side[field] not in known:
                    raise StepFailed(f"{name} has the {field} {side[field]!r}")
        if len(ours) != len(stage.urls):
            raise StepFailed(f"it has {', '.join(ours)}, but {', '.join(stage.urls)} were made")
        step.note(f"the ids and addresses of {', '.join(ours)}")


def _sides(version: dict[str, Any], name: str) -> list[tuple[str, dict[str, str]]]:
    """Return what a version is made of, by names like v1.back_end and v3.back_ends.vgg16."""
    found = []
    for side, value in version.items():
        if "build_id" in value:
            found.append((f"{name}.{side}", value))
        else:
            found += _sides(value, f"{name}.{side}")
    return found


def _is_ours(name: str, stage: Stage) -> bool:
    """Return whether it was rolled out: of v3's backends, those of other models were not."""
    model = name.removeprefix("v3.back_ends.")
    return model == name or f"v3_backend_{model}" in stage.urls


def tear_down(stage: Stage) -> None:
    """Delete everything, and see that nothing is left."""
    with stage.progress.step("teardown.sh") as step:
        stage.scripts.run(step, "teardown.sh", YES="1")
        if remains := left(stage):
            raise StepFailed(f"it left {', '.join(remains)}")
        if not _within(LIMIT_S, lambda: not _containers(stage)):
            raise StepFailed(f"containers still run: {_containers(stage)}")
        step.note("no service, container, repository, bucket, account or secret is left")


def _containers(stage: Stage) -> list[str]:
    mine = f"label={OWNER}={stage.rehearsal.cloud}"
    return stage.rehearsal.docker.run("ps", "--all", "--quiet", "--filter", mine).split()


def _within(limit_s: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True
