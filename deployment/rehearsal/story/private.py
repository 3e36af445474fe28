"""A private backend answers its page and nobody else."""

from deployment.rehearsal.story.asking import http
from deployment.rehearsal.story.progress import StepFailed
from deployment.rehearsal.story.rolling_out import deploy_in
from deployment.rehearsal.story.stage import Stage
from deployment.rehearsal.story.versions import ask_page

FORBIDDEN = 403


def go_private(stage: Stage, tag: str) -> None:
    """Deploy v1 with a private backend; ask without a token, and through the page.

    Args:
        stage: where.
        tag: of the backend's image.
    """
    with stage.progress.step("deploy v1 with a private backend") as step:
        deploy_in(step, stage, "backend_v1", PRIVATE="1", TAG=tag)
        deploy_in(step, stage, "frontend_v1")
    with stage.progress.step("ask v1 with a private backend") as step:
        url = f"{stage.urls['backend_v1']}/hello"
        with http() as session:
            status = session.get(url, timeout=60).status_code
        if status != FORBIDDEN:
            raise StepFailed(f"{url} answered {status} to somebody without a token")
        step.note(f"{url} without a token: {status}")
        ask_page(step, stage, "v1")
