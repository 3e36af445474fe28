"""What goes wrong in a cloud: broken revisions, two deploys at once, containers without a CPU."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import requests

from tools.rehearsal.asking import asking
from tools.rehearsal.progress import Step, StepFailed
from tools.rehearsal.report import LIMIT_S
from tools.rehearsal.stage import Stage

# The component whose code is changed and broken, its service, and the file.
COMPONENT, SERVICE, APP = "backend_v1", "backend-v1", "backend_v1/app.py"
# What is written before and after the app's code, by what goes wrong.
FAULTS = {
    "does not start": ('raise RuntimeError("This revision is broken on purpose.")\n', ""),
    "fails its smoke test": ("", "app.view_functions['predict'] = lambda: 1 / 0\n"),
}
OFFSETS_S = (0, 4)  # between two deploys
FROZEN_S = 35  # longer than gunicorn waits for a sign of life by default


def go_wrong_and_back(stage: Stage) -> None:
    """Deploy a good revision, broken ones after it, and go back to the first."""
    first = stage.serving(SERVICE)
    with stage.progress.step("deploy the changed code") as step, _all_along(step, stage):
        stage.deploy(step, COMPONENT)
        if (good := stage.serving(SERVICE)) == first:
            raise StepFailed(f"{good} still serves: the new revision got no traffic")
    for kind, fault in FAULTS.items():
        _try_broken(stage, kind, fault, good)
    with stage.progress.step("rollback.sh") as step, _all_along(step, stage):
        stage.run(step, "rollback.sh", COMPONENT)
        _expect_serving(stage, first)
        step.note(f"{first} serves again, after {good}")


def _try_broken(stage: Stage, kind: str, fault: tuple[str, str], good: str) -> None:
    app = stage.source / APP
    whole = app.read_text("utf-8")
    before, after = fault
    app.write_text(f"{before}{whole}{after}", "utf-8")
    stage.build(COMPONENT, f"build one that {kind}")
    app.write_text(whole, "utf-8")
    with stage.progress.step(f"deploy one that {kind}") as step, _all_along(step, stage):
        stage.run_failing(step, f"deploy_{COMPONENT}.sh")
        _expect_serving(stage, good)
        step.note(f"{good} serves as before")


def _expect_serving(stage: Stage, revision: str) -> None:
    if (serving := stage.serving(SERVICE)) != revision:
        raise StepFailed(f"{serving} serves, not {revision}")


def _all_along(step: Step, stage: Stage) -> AbstractContextManager[None]:
    """Keep asking the service until the end of the block: every answer must come."""
    return asking(step, f"{stage.urls[COMPONENT]}/predict", stage.picture("cat.jpg"))


# --- two deploys at once -------------------------------------------------------------------------


def deploy_at_once(stage: Stage, good: str, broken: str) -> None:
    """Deploy a good and a broken build at once: the good one is released, and nobody else's."""
    for offset in OFFSETS_S:
        name = f"deploy two at once, {offset} s apart"
        with stage.progress.step(name) as step, _all_along(step, stage):
            before = stage.serving(SERVICE)
            with ThreadPoolExecutor(1) as pool:
                other = pool.submit(stage.deploy, step, COMPONENT, TAG=good)
                time.sleep(offset)
                stage.run_failing(step, f"deploy_{COMPONENT}.sh", TAG=broken)
                other.result()
            about = stage.rehearsal.store.get("services", SERVICE) or {}
            if any("tag" in target for target in about["spec"]["traffic"]):
                raise StepFailed("a tag is left")
            if (released := stage.serving(SERVICE)) == before:
                raise StepFailed(f"{before} still serves")
            step.note(f"{released} serves, after {before}")


# --- containers without a CPU --------------------------------------------------------------------


def freeze(step: Step, stage: Stage) -> None:
    """Stop a version's containers for a while, as Cloud Run does between two requests.

    Each must answer on the connection from before, and have ended nothing.
    """
    docker = stage.rehearsal.docker
    services = [component.replace("_", "-") for component in stage.urls]
    names = docker.run("ps", "--format={{.Names}}").splitlines()  # SERVICE-REVISION-PORT
    own = {name: name.rpartition("-")[2] for name in names if name.startswith(tuple(services))}
    with requests.Session() as http:
        _ask_each(http, own)
        pids = [pid for name in own for pid in docker.run("top", name, "-eo", "pid").split()[1:]]
        for pid in pids:
            os.kill(int(pid), signal.SIGSTOP)
        time.sleep(FROZEN_S)
        for pid in pids:
            os.kill(int(pid), signal.SIGCONT)
        for _ in range(2):
            _ask_each(http, own)
            time.sleep(2)  # gunicorn looks for workers that are silent every second
    if ended := [name for name in own if "WORKER TIMEOUT" in docker.run("logs", name)]:
        raise StepFailed(f"workers were ended in {ended}")
    step.note(f"{', '.join(own)}: stopped for {FROZEN_S} s, and answered as before")


def _ask_each(http: requests.Session, containers: dict[str, str]) -> None:
    for name, port in containers.items():
        path = "/_stcore/health" if "frontend" in name else "/ready"
        http.get(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S).raise_for_status()
