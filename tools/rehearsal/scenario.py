"""The whole rehearsal, in order: what is done, and what must be seen."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from string import Template
from typing import Any

import requests
import yaml

from tools.process import Failed
from tools.rehearsal.checks import (
    APP,
    COMPONENT,
    SERVICE,
    ask_page,
    deploy_at_once,
    freeze,
    go_wrong_and_back,
    newly_serving,
    predicted,
)
from tools.rehearsal.rehearsal import PROJECT
from tools.rehearsal.stage import LIMIT_S, Build, Stage

VERSIONS = {
    "v1": ("backend_v1", "frontend_v1"),
    "v2": ("backend_v2", "frontend_v2"),
    "v3": ("v3_backend", "v3_gateway", "v3_frontend"),
}
# What each version builds first: no two of them are on the same base image, so none is built twice.
FIRST = {"v1": "backend_v1", "v2": "frontend_v2", "v3": "v3_gateway"}
CHANGED = (APP, "imgserve/backend/app.py")
DOCUMENT, REGION = f"deployment/service_{COMPONENT}.yaml", "northamerica-northeast1"
PICTURE, ANSWER = "espresso.jpg", "espresso"
OK, FORBIDDEN = 200, 403
# What the scripts make.
MADE = ("repositories", "buckets", "objects", "accounts", "secrets", "services", "revisions")


def play(stages: Mapping[str, Stage], at_once: int) -> None:
    """Do everything, each version on its own stage; so many are rolled out at once.

    Failed where something is not as it should be.
    """
    any_stage = next(iter(stages.values()))
    prepare(any_stage)
    together(build_first, stages, at_once)
    together(roll_out, stages, at_once)
    for version, stage in stages.items():
        with stage.step(f"read deliverables.yaml of {version}"):
            read_deliverables(stage, version)
    tear_down(any_stage)


def together(work: Callable[[Stage, str], None], stages: Mapping[str, Stage], at_once: int) -> None:
    """Do the same for several versions; the first failure ends all of it."""
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(work, stage, version) for version, stage in stages.items()]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for stage in stages.values():
                stage.progress.end()
            raise


def prepare(stage: Stage) -> None:
    """Set up a new project twice, of which the second time changes nothing; check it."""
    with stage.step("check.sh of an empty project"):
        stage.run("check.sh", fails=True)
    with stage.step("setup.sh"):
        stage.run("setup.sh")
    with stage.step("setup.sh again"), _nothing_changes(stage):
        stage.run("setup.sh")
    with stage.step("check.sh"):
        stage.run("check.sh")


@contextmanager
def _nothing_changes(stage: Stage) -> Iterator[None]:
    """See that the project is afterwards what it was before the block."""
    before = stage.rehearsal.store.snapshot()
    yield
    if changes := dict(stage.rehearsal.store.snapshot().items() ^ before.items()):
        raise Failed(f"it changed {', '.join(map('/'.join, changes))}")
    stage.note("nothing changed")


# --- each version --------------------------------------------------------------------------------


def build_first(stage: Stage, version: str) -> None:
    """Build the component that a version builds first; one build is made twice."""
    stage.build(FIRST[version])
    if version == "v1":
        change_code(stage)


def roll_out(stage: Stage, version: str) -> None:
    """Build what is not built yet, deploy a version, ask its backend and its page."""
    for component in VERSIONS[version]:
        if component != FIRST[version]:
            stage.build(component)
        variables = {"TAG": stage.builds[0].id} if component == COMPONENT else {}
        with stage.step(f"deploy {component}"):
            stage.deploy(component, **variables)
    with stage.step(f"ask {version}"):
        _ask_backend(stage, version)
        _ask_page(stage, version)
    with stage.step(f"freeze {version}"):
        freeze(stage)
    if version == "v1":
        changed = stage.builds[1].id
        go_wrong_and_back(stage)
        deploy_at_once(stage, changed, stage.builds[-1].id)
        go_private(stage, changed)
        replace(stage, stage.builds[0].id)


def _ask_backend(stage: Stage, version: str) -> None:
    """Ask a version's backend as curl would, about each of its models."""
    paths = [f"/model/{model}/predict" for model in _models(stage, version)] or ["/predict"]
    for path in paths:
        url = stage.urls[VERSIONS[version][-2]] + path
        if (category := predicted(url, stage.picture(PICTURE))) != ANSWER:
            raise Failed(f"{url} takes {PICTURE} for {category!r}")
        stage.note(f"{url}: {ANSWER}")


def _ask_page(stage: Stage, version: str) -> None:
    """Ask a version's page; where there is a choice, about its second model, too."""
    page_url, backend_url = (stage.urls[VERSIONS[version][place]] for place in (-1, -2))
    for model in ["", *_models(stage, version)[1:2]]:
        title = _json(f"{backend_url}/model/{model}")["title"] if model else ""
        said = ask_page(page_url, stage.picture(PICTURE), model, title)
        if ANSWER not in said:
            raise Failed(f"{page_url} says: {said}")
        stage.note(f"{page_url}{f' with {title}' if model else ''}: {said}")


def _models(stage: Stage, version: str) -> list[str]:
    """Return the ids of the models to choose from, the default first; none of v1, maybe private."""
    url = stage.urls[VERSIONS[version][-2]]
    return [] if version == "v1" else list(_json(f"{url}/models"))


def _json(url: str) -> Any:
    return requests.get(url, timeout=LIMIT_S).json()


# --- a change of code ----------------------------------------------------------------------------


def change_code(stage: Stage) -> None:
    """Change two files, build again, and see that neither base nor models were made anew.

    The second build is like one on another machine: it pulls all it takes from the first one.
    """
    for name in CHANGED:
        with (stage.source / name).open("a", encoding="utf-8") as file:
            file.write("# A line that changes nothing but the file.\n")
    for name in (COMPONENT, "backend_base"):
        stage.rehearsal.docker.forget(stage.image(name))
    stage.build(COMPONENT, f"build {COMPONENT} after a change of code")
    with stage.step("compare the two builds"):
        compare(stage, *stage.builds[:2])


def compare(stage: Stage, first: Build, second: Build) -> None:
    """See that only the code differs between two builds."""
    for purpose in ("base", "models"):
        if first.layers[purpose] != second.layers[purpose]:
            raise Failed(f"the layers of the {purpose} were made anew")
        stage.note(f"{purpose}: the same {len(first.layers[purpose])} layers")
    if first.layers["code"] == second.layers["code"]:
        raise Failed("the code that was changed is not in the image")
    stage.note(f"{first.seconds:.1f} s, then {second.seconds:.1f} s")


# --- a private backend, and one without its script -----------------------------------------------


def go_private(stage: Stage, tag: str) -> None:
    """Deploy v1 with a private backend, see that it stays private, and make it public again."""
    with stage.step("deploy v1 with a private backend"):
        stage.deploy(COMPONENT, PRIVATE="1", TAG=tag)
        stage.deploy("frontend_v1")
    with stage.step("ask v1 with a private backend"):
        _expect_without_token(stage, FORBIDDEN)
        _ask_page(stage, "v1")
    with stage.step("deploys and rollback.sh of a private backend"):
        stage.run(f"deploy_{COMPONENT}.sh", fails=True, TAG="no-such-build")
        _expect_without_token(stage, FORBIDDEN)
        stage.deploy(COMPONENT, TAG=tag)
        stage.run("rollback.sh", COMPONENT)
        _expect_without_token(stage, FORBIDDEN)
    with stage.step("deploy a public backend again"):
        stage.deploy(COMPONENT, PRIVATE="0", TAG=tag)
        _expect_without_token(stage, OK)


def _expect_without_token(stage: Stage, status: int) -> None:
    url = f"{stage.urls[COMPONENT]}/hello"
    found = requests.get(url, timeout=LIMIT_S).status_code
    if found != status:
        raise Failed(f"{url} answered {found} to somebody without a token")
    stage.note(f"{url} without a token: {found}")


def replace(stage: Stage, tag: str) -> None:
    """Apply the document of a service instead of running its script."""
    with stage.step("gcloud run services replace"):
        before = stage.serving(SERVICE)
        document = Template((stage.source / DOCUMENT).read_text("utf-8"))
        images = stage.image(COMPONENT).removesuffix(f"/{COMPONENT}")
        filled = stage.current.log.with_suffix(".yaml")
        filled.write_text(document.safe_substitute(PROJECT_ID=PROJECT, IMAGES=images, TAG=tag))
        stage.run("gcloud", "run", "services", "replace", str(filled), f"--region={REGION}")
        serving = newly_serving(stage, before)
        _ask_backend(stage, "v1")
        stage.note(f"{serving} serves, after {before}")


# --- the end -------------------------------------------------------------------------------------


def read_deliverables(stage: Stage, version: str) -> None:
    """See that deliverables.yaml has the ids and addresses of all that was rolled out."""
    found = yaml.safe_load((stage.source / "deliverables.yaml").read_text())
    services = found["services"] | {"v3": found.get("v3")}
    newest = {build.image: build.id for build in stage.builds}
    expected = {*newest.values(), *stage.urls.values()}
    if (values := set(_values_of(services[version])) - {""}) != expected:
        raise Failed(f"it has {values}, not {expected}")
    stage.note(f"the ids and addresses of {', '.join(stage.urls)}")


def _values_of(entry: Any) -> list[str]:
    """Return all values in a part of deliverables.yaml."""
    if isinstance(entry, dict):
        return [value for inner in entry.values() for value in _values_of(inner)]
    return [entry]


def tear_down(stage: Stage) -> None:
    """Delete everything, and see that nothing is left; in a region without services, nothing."""
    name = "teardown.sh in another region"
    with stage.step(name), _nothing_changes(stage):
        stage.run("teardown.sh", YES="1", REGION="europe-west1")
    with stage.step("teardown.sh"):
        stage.run("teardown.sh", YES="1")
        store, docker = stage.rehearsal.store, stage.rehearsal.docker
        if remains := {kind: left for kind in MADE if (left := store.all(kind))}:
            raise Failed(f"it left {remains}")
        end = time.monotonic() + LIMIT_S  # containers have ten seconds to end
        while running := docker.run("ps", "--all", "--quiet"):
            if time.monotonic() > end:
                raise Failed(f"containers still run: {running}")
            time.sleep(0.5)
        stage.note(f"no containers are left, nor {', '.join(MADE)}")
