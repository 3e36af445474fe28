"""The whole rehearsal, in order: what is done, and what must be seen."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from string import Template

import requests
import yaml

from tools.process import Failed
from tools.rehearsal import checks
from tools.rehearsal.host import say
from tools.rehearsal.rehearsal import PROJECT, Rehearsal
from tools.rehearsal.stage import LIMIT_S, Build, Stage

# Each version's backend, what stands between in v3, and its page, in the order they are deployed.
VERSIONS = {
    "v1": ("backend_v1", "frontend_v1"),
    "v2": ("backend_v2", "frontend_v2"),
    "v3": ("v3_backend", "v3_gateway", "v3_frontend"),
}
# What each version builds, in this order: no two begin with the same base image.
BUILT = {
    "v1": ("backend_v1", "frontend_v1"),
    "v2": ("frontend_v2", "backend_v2"),
    "v3": ("v3_gateway", "v3_frontend", "v3_backend"),
}
# What is built twice: the images that the second build has to pull, and the code that has changed.
# v1's base image is another build's, too; the gateway's is nobody else's.
REBUILT = {
    "backend_v1": (("backend_v1",), ("backend_v1/app.py", "imgserve/backend/app.py")),
    "v3_gateway": (("v3_gateway", "gateway_base"), ("v3/gateway/__init__.py",)),
}
CODE_BYTES = 3_000_000  # at most, in an image; the layer of its models has 17 MB, of its base more
REGION = "northamerica-northeast1"
PRIVATE = "backend_v2"  # what becomes private for a while
ID_OR_URL = re.compile(r"[0-9a-f-]{36}|http://[^']*")
# What the scripts make, and what builds make meanwhile.
MADE = ("repositories", "buckets", "objects", "accounts", "secrets", "services", "revisions")
BY_BUILDS = {"builds", "objects", "object-bytes"}


def play(stages: Mapping[str, Stage]) -> None:
    """Do everything, the versions side by side; Failed where something is not as it should be."""
    any_stage = next(iter(stages.values()))
    prepare(any_stage)
    versions = [partial(roll_out, stages[version], version) for version in stages]
    together(any_stage.rehearsal, partial(set_up_again, replace(any_stage)), *versions)
    tear_down(any_stage)
    say(f"PASS: {any_stage.rehearsal.steps} steps")


def together(rehearsal: Rehearsal, *tasks: Callable[[], None]) -> None:
    """Do several things side by side; the first failure ends all of them."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            rehearsal.end()
            raise


def prepare(stage: Stage) -> None:
    with stage.step("check.sh of an empty project"):
        stage.run("check.sh", fails=True)
    for script in ("setup.sh", "check.sh"):
        with stage.step(script):
            stage.run(script)


def set_up_again(stage: Stage) -> None:
    with stage.step("setup.sh again"), _nothing_changes(stage):
        stage.run("setup.sh")


@contextmanager
def _nothing_changes(stage: Stage) -> Iterator[None]:
    """See that the project is afterwards what it was before the block, but for what is built."""
    before = stage.rehearsal.store.snapshot()
    yield
    changed = dict(stage.rehearsal.store.snapshot().items() ^ before.items())
    if found := [f"{kind}/{name}" for kind, name in changed if kind not in BY_BUILDS]:
        raise Failed(f"it changed {', '.join(found)}")
    stage.notes.append("nothing changed")


def roll_out(stage: Stage, version: str) -> None:
    """Build and deploy a version, ask its backend and its page, and what else it is tried with."""
    for component in BUILT[version]:
        build_twice(stage, component) if component in REBUILT else stage.build(component)
    for component in VERSIONS[version]:
        tag = {"TAG": stage.builds[0].id} if component == "backend_v1" else {}
        with stage.step(f"deploy {component}"):
            stage.deploy(component, **tag)
    with stage.step(f"ask {version}"):
        checks.ask(stage, *VERSIONS[version][-2:])
    if version == "v1":
        broken = checks.go_wrong_and_back(stage)
        checks.deploy_at_once(stage, stage.builds[1].id, broken)
    elif version == "v2":
        go_private(stage)
        replace_service(stage)
    with stage.step(f"read deliverables.yaml of {version}"):
        read_deliverables(stage, version)


def build_twice(stage: Stage, component: str) -> None:
    """Build a component, change its code, and build it again, as on another machine.

    The second build has none of these images but pulls them, and takes all but code from them.
    """
    images, code = REBUILT[component]
    stage.build(component)
    for name in code:
        with (stage.source / name).open("a", encoding="utf-8") as file:
            file.write("# A line that changes nothing but the file.\n")
    docker = stage.rehearsal.docker
    for name in images:
        tags = docker.run("images", "--format={{.Repository}}:{{.Tag}}", stage.image(name))
        docker.run("rmi", *tags.splitlines())
    stage.build(component, f"build {component} after a change of code")
    with stage.step(f"compare the two builds of {component}"):
        stage.notes.append(compare(*stage.builds))


def compare(first: Build, second: Build) -> str:
    """Return how a second build differs from the first; Failed unless it does in code alone."""
    anew = sum(size for digest, size in second.layers.items() if digest not in first.layers)
    if not anew:
        raise Failed("the code that was changed is not in the image")
    if anew > CODE_BYTES:
        raise Failed(f"{anew / 1e6:.1f} MB were made anew: more than code")
    return f"{anew / 1e6:.1f} MB were made anew; {first.seconds:.1f} s, then {second.seconds:.1f} s"


def go_private(stage: Stage) -> None:
    """Make v2's backend private, see that it stays so, and make it public again."""
    with stage.step("deploy v2 with a private backend"):
        stage.deploy(PRIVATE, PRIVATE="1")
        stage.deploy("frontend_v2")
    with stage.step("ask v2 with a private backend"):
        _expect_without_token(stage, 403)
        checks.ask_page(stage, "frontend_v2")
    with stage.step("deploys and rollback.sh of a private backend"):
        stage.run(f"deploy_{PRIVATE}.sh", fails=True, TAG="no-such-build")
        _expect_without_token(stage, 403)
        stage.deploy(PRIVATE)
        stage.run("rollback.sh", PRIVATE)
        _expect_without_token(stage, 403)
    with stage.step("deploy a public backend again"):
        stage.deploy(PRIVATE, PRIVATE="0")
        _expect_without_token(stage, 200)


def _expect_without_token(stage: Stage, status: int) -> None:
    url = f"{stage.urls[PRIVATE]}/hello"
    if (found := requests.get(url, timeout=LIMIT_S).status_code) != status:
        raise Failed(f"{url} answered {found} to somebody without a token")
    stage.notes.append(f"{url} without a token: {found}")


def replace_service(stage: Stage) -> None:
    """Apply the document of a service instead of running its script."""
    with stage.step("gcloud run services replace"):
        before = stage.serving(PRIVATE)
        document = (stage.source / "deployment" / f"service_{PRIVATE}.yaml").read_text("utf-8")
        values = {"PROJECT_ID": PROJECT, "TAG": stage.builds[-1].id, "SECRET_VERSION": "1"}
        values["IMAGES"] = stage.image(PRIVATE).removesuffix(f"/{PRIVATE}")
        filled = stage.log.with_suffix(".yaml")
        filled.write_text(Template(document).safe_substitute(values))
        stage.run("gcloud", "run", "services", "replace", str(filled), f"--region={REGION}")
        checks.newly_serving(stage, PRIVATE, before)
        checks.predicted(stage, f"{stage.urls[PRIVATE]}/predict")


def read_deliverables(stage: Stage, version: str) -> None:
    """See that deliverables.yaml has the ids and addresses of what was rolled out, and no more."""
    found = yaml.safe_load((stage.source / "deliverables.yaml").read_text("utf-8"))
    values = set(ID_OR_URL.findall(str({**found["services"], **found}[version])))
    newest = {build.image: build.id for build in stage.builds}
    if values != {*newest.values(), *stage.urls.values()}:
        raise Failed(f"it has {values}, not {newest} and {stage.urls}")
    stage.notes.append(f"the ids and addresses of {', '.join(stage.urls)}")


def tear_down(stage: Stage) -> None:
    """Delete everything, and see that nothing is left; in a region without services, nothing."""
    with stage.step("teardown.sh in another region"), _nothing_changes(stage):
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
        stage.notes.append(f"no containers are left, nor {', '.join(MADE)}")
