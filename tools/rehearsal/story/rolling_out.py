"""Build and deploy a component with the scripts."""

from datetime import datetime
from typing import Any

from tools.rehearsal.story.images import megabytes
from tools.rehearsal.story.progress import Step
from tools.rehearsal.story.stage import REGION, Build, Stage


def build(stage: Stage, component: str, name: str = "") -> list[Build]:
    """Submit a component's build in a step of its own; return what was built.

    Args:
        stage: where.
        component: such as backend_v1.
        name: of the step.
    """
    with stage.progress.step(name or f"build {component}") as step:
        script = f"submit_build_{component}.sh"
        ids = stage.scripts.run(step, script, **_models(stage, component))
        made = [_built(stage, each) for each in ids]
        stage.builds += made
        for each in made:
            sizes = _sizes(each)
            step.note(f"{each.image}: {each.seconds:.0f} s, {sizes}")
    return made


def deploy(stage: Stage, component: str, **variables: str) -> None:
    """Deploy a component in a step of its own."""
    with stage.progress.step(f"deploy {component}") as step:
        deploy_in(step, stage, component, **variables)


def deploy_in(step: Step, stage: Stage, component: str, **variables: str) -> None:
    """Deploy a component as part of a step."""
    variables |= _models(stage, component)
    urls = stage.scripts.run(step, f"deploy_{component}.sh", **variables)
    names = [component]
    if component == "v3_backend":
        names = [each.image for each in stage.builds if each.image.startswith(component)]
    stage.urls |= dict(zip(names, urls, strict=True))
    step.note(", ".join(urls))


def _models(stage: Stage, component: str) -> dict[str, str]:
    """Return the variables that limit a component's models."""
    if not stage.models or "frontend" in component:
        return {}
    if component == "backend_v1":
        return {"MODEL_NAME": stage.models[0]}
    # Each model of v3 has an image of its own to build: two are enough to choose from.
    models = stage.models[:2] if component.startswith("v3") else stage.models
    return {"MODELS": ",".join(models)}


def _built(stage: Stage, build_id: str) -> Build:
    about = stage.scripts.gcloud("builds", "describe", build_id, f"--region={REGION}")
    image = about["substitutions"]["_APP_URI"].rpartition("/")[2]
    steps = {each["id"]: _seconds(each["timing"]) for each in about["steps"]}
    push = about["timing"].get("PUSH")
    return Build(
        id=build_id,
        image=image,
        seconds=_seconds({"startTime": about["startTime"], "endTime": about["finishTime"]}),
        steps={**steps, **({"push": _seconds(push)} if push else {})},
        layers=stage.layers(image, build_id),
    )


def _seconds(span: dict[str, Any]) -> float:
    """Return how long a time span of the API is."""
    began, ended = (datetime.fromisoformat(span[name]) for name in ("startTime", "endTime"))
    return round((ended - began).total_seconds(), 1)


def _sizes(build: Build) -> str:
    parts = {name: megabytes(found) for name, found in build.layers.items() if found}
    words = ", ".join(f"{name} {size}" for name, size in parts.items())
    return f"{sum(parts.values()):.1f} MB ({words})"
