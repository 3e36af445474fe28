"""Each version is built and deployed, and a person asks its page about a picture."""

from imgserve.models.catalogue import entry
from tools.rehearsal.story.asking import http, predicted
from tools.rehearsal.story.changing import COMPONENT as CHANGED_COMPONENT
from tools.rehearsal.story.changing import change_code
from tools.rehearsal.story.page import asked
from tools.rehearsal.story.progress import Step, StepFailed
from tools.rehearsal.story.rolling_out import build, deploy
from tools.rehearsal.story.stage import Stage

VERSIONS = {
    "v1": ("backend_v1", "frontend_v1"),
    "v2": ("backend_v2", "frontend_v2"),
    "v3": ("v3_backend", "v3_gateway", "v3_frontend"),
}
PICTURE = "espresso.jpg"
ANSWER = "espresso"


def roll_out(stage: Stage, version: str) -> None:
    """Build and deploy a version, ask its backend and its page; one build is made twice."""
    for component in VERSIONS[version]:
        first, *_ = build(stage, component)
        if component == CHANGED_COMPONENT:
            change_code(stage, first)
            deploy(stage, component, TAG=first.id)
        else:
            deploy(stage, component)
    with stage.progress.step(f"ask {version}") as step:
        ask_backend(step, stage, version)
        ask_page(step, stage, version)


def ask_backend(step: Step, stage: Stage, version: str) -> None:
    """Ask a version's backend as curl would, about each of its models."""
    for path in _paths(stage, version):
        url = stage.urls[_answering(version)] + path
        if (category := predicted(url, stage.picture(PICTURE))) != ANSWER:
            raise StepFailed(f"{url} takes {PICTURE} for {category!r}")
        step.note(f"{url}: {ANSWER}")


def ask_page(step: Step, stage: Stage, version: str) -> None:
    """Ask a version's page; where there is a choice, about its second model, too."""
    page_url = stage.urls[VERSIONS[version][-1]]
    second = [] if version == "v1" else _models(stage, version)[1:2]
    for model in ["", *second]:
        title = entry(model).title if model else ""
        said = asked(stage.browser, page_url, stage.picture(PICTURE), model, title)
        if ANSWER not in said:
            raise StepFailed(f"{page_url} says: {said}")
        step.note(f"{page_url}{f' with {title}' if model else ''}: {said}")


def _answering(version: str) -> str:
    """Return the component that a version's page asks."""
    return VERSIONS[version][-2]


def _paths(stage: Stage, version: str) -> list[str]:
    if version == "v1":
        return ["/predict"]
    return [f"/model/{model}/predict" for model in _models(stage, version)]


def _models(stage: Stage, version: str) -> list[str]:
    """Return the ids of the models that a deployed version offers, the default first."""
    with http() as session:
        answer = session.get(f"{stage.urls[_answering(version)]}/models", timeout=60)
    models: list[str] = answer.json()
    return models
