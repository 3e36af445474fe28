"""A private backend answers its page and nobody else, until it is said to be public again."""

from tools.rehearsal.story.asking import http
from tools.rehearsal.story.progress import Step, StepFailed
from tools.rehearsal.story.rolling_out import deploy_in
from tools.rehearsal.story.stage import Stage
from tools.rehearsal.story.versions import ask_page

COMPONENT = "backend_v1"
OK, FORBIDDEN = 200, 403


def go_private(stage: Stage, tag: str) -> None:
    """Deploy v1 with a private backend, see that it stays private, and make it public again.

    Args:
        stage: where.
        tag: of the backend's image.
    """
    with stage.progress.step("deploy v1 with a private backend") as step:
        deploy_in(step, stage, COMPONENT, PRIVATE="1", TAG=tag)
        deploy_in(step, stage, "frontend_v1")
    with stage.progress.step("ask v1 with a private backend") as step:
        _expect(step, stage, FORBIDDEN)
        ask_page(step, stage, "v1")
    with stage.progress.step("deploys and rollback.sh of a private backend") as step:
        step.note(stage.scripts.run_failing(step, f"deploy_{COMPONENT}.sh", TAG="no-such-build"))
        _expect(step, stage, FORBIDDEN)
        deploy_in(step, stage, COMPONENT, TAG=tag)
        stage.scripts.run(step, "rollback.sh", COMPONENT)
        _expect(step, stage, FORBIDDEN)
    with stage.progress.step("deploy a public backend again") as step:
        deploy_in(step, stage, COMPONENT, PRIVATE="0", TAG=tag)
        _expect(step, stage, OK)


def _expect(step: Step, stage: Stage, status: int) -> None:
    """See what the backend answers to somebody without a token."""
    url = f"{stage.urls[COMPONENT]}/hello"
    with http() as session:
        found = session.get(url, timeout=60).status_code
    if found != status:
        raise StepFailed(f"{url} answered {found} to somebody without a token")
    step.note(f"{url} without a token: {found}")
