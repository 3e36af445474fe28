"""A new project is set up, and setting it up again changes nothing."""

from typing import Any

from tools.rehearsal.store import documents
from tools.rehearsal.story.progress import StepFailed
from tools.rehearsal.story.stage import REGION, Stage


def prepare(stage: Stage) -> None:
    """Run setup.sh twice, and check.sh before and after."""
    with stage.progress.step("check.sh of an empty project") as step:
        step.note(stage.scripts.run_failing(step, "check.sh"))
    with stage.progress.step("setup.sh") as step:
        stage.scripts.run(step, "setup.sh")
    with stage.progress.step("setup.sh again") as step:
        before = _remembered(stage)
        stage.scripts.run(step, "setup.sh")
        if changes := dict(_remembered(stage).items() ^ before.items()):
            raise StepFailed(f"it changed {', '.join(changes)}")
        step.note("nothing changed")
    with stage.progress.step("check.sh") as step:
        stage.scripts.run(step, "check.sh")


def left(stage: Stage) -> list[str]:
    """Return the names of what setup.sh made that is there now, and of all services."""
    listed = {
        "repository": ("artifacts", "repositories", "list", f"--location={REGION}"),
        "bucket": ("storage", "buckets", "list"),
        "account": ("iam", "service-accounts", "list"),
        "secret": ("secrets", "list"),
        "service": ("run", "services", "list", f"--region={REGION}"),
    }
    return [
        f"{kind} {_name(each)}"
        for kind, words in listed.items()
        for each in stage.scripts.gcloud(*words)
    ]


def _name(resource: Any) -> str:
    """Return the short name of whatever gcloud lists."""
    name = resource.get("email") or resource.get("name") or resource["metadata"]["name"]
    return str(name).rpartition("/")[2]


def _remembered(stage: Stage) -> dict[str, str]:
    """Return all that the stand-ins know."""
    folder = documents(stage.rehearsal.cloud).folder
    return {str(each): each.read_text("utf-8") for each in sorted(folder.rglob("*.json"))}
