"""Broken revisions get no traffic, and a good one can be taken back."""

from collections.abc import Iterator
from contextlib import contextmanager

from tools.rehearsal.story.asking import Asker
from tools.rehearsal.story.progress import Step, StepFailed
from tools.rehearsal.story.rolling_out import build, deploy_in
from tools.rehearsal.story.stage import Stage

COMPONENT = "backend_v1"
SERVICE = "backend-v1"
APP = "backend_v1/app.py"
PICTURE = "cat.jpg"

# What is written before and after the app's code, by what goes wrong.
FAULTS = {
    "does not start": ('raise RuntimeError("This revision is broken on purpose.")\n', ""),
    "fails its smoke test": ("", "app.view_functions['predict'] = lambda: 1 / 0\n"),
}


def go_through(stage: Stage) -> None:
    """Deploy a good revision, broken ones after it, and go back to the first."""
    first = stage.serving(SERVICE)
    with stage.progress.step("deploy the changed code") as step, _asked_all_along(step, stage):
        deploy_in(step, stage, COMPONENT)
        if (good := stage.serving(SERVICE)) == first:
            raise StepFailed(f"{good} still serves: the new revision got no traffic")
    for kind, fault in FAULTS.items():
        _try_broken(stage, kind, fault, good)
    with stage.progress.step("rollback.sh") as step, _asked_all_along(step, stage):
        stage.scripts.run(step, "rollback.sh", COMPONENT)
        if (serving := stage.serving(SERVICE)) != first:
            raise StepFailed(f"{serving} serves, not {first}")
        step.note(f"{first} serves again, after {good}")


def _try_broken(stage: Stage, kind: str, fault: tuple[str, str], good: str) -> None:
    app = stage.rehearsal.source / APP
    whole = app.read_text("utf-8")
    before, after = fault
    app.write_text(f"{before}{whole}{after}", "utf-8")
    try:
        build(stage, COMPONENT, f"build one that {kind}")
    finally:
        app.write_text(whole, "utf-8")
    with stage.progress.step(f"deploy one that {kind}") as step, _asked_all_along(step, stage):
        step.note(stage.scripts.run_failing(step, f"deploy_{COMPONENT}.sh"))
        if (serving := stage.serving(SERVICE)) != good:
            raise StepFailed(f"{serving} serves, not {good}")
        step.note(f"{good} serves as before")


@contextmanager
def _asked_all_along(step: Step, stage: Stage) -> Iterator[None]:
    """Keep asking the service until the end of the block: every answer must come."""
    with Asker(f"{stage.urls[COMPONENT]}/predict", stage.picture(PICTURE)) as asker:
        yield
    step.note(asker.verdict())
