"""What must be seen: answers, pages, and a service that goes on answering whatever goes wrong."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Error as BrowserFailed
from playwright.sync_api import expect, sync_playwright

from tools.process import Failed
from tools.rehearsal.host import CHROMIUM, find
from tools.rehearsal.stage import LIMIT_S, Stage

SENTENCE = re.compile("I think this is an image of an? ")
LIMIT_MS = 60_000  # a container may have to start first
PAUSE_S = 0.5

# The component whose code is changed and broken, its service, and the file.
COMPONENT, SERVICE, APP = "backend_v1", "backend-v1", "backend_v1/app.py"
# What is written before and after the app's code, by what goes wrong.
FAULTS = {
    "does not start": ('raise RuntimeError("This revision is broken on purpose.")\n', ""),
    "fails its smoke test": ("", "app.view_functions['predict'] = lambda: 1 / 0\n"),
}
OFFSETS_S = (0, 4)  # between two deploys
FROZEN_S = 35  # longer than gunicorn waits for a sign of life by default


def predicted(url: str, picture: Path) -> str:
    """Return the category that a backend gives a picture, or Failed."""
    with picture.open("rb") as file:
        answer = requests.post(url, files={"image": file}, timeout=LIMIT_S)
    if not answer.ok:
        raise Failed(f"{url} answered {answer.status_code}: {answer.text[:200]}")
    category: str = answer.json()["predictions"][0]["category"]
    return category


def ask_page(url: str, picture: Path, model: str = "", title: str = "") -> str:
    """Return the sentence that a page answers to an uploaded picture, in Chromium.

    ``model`` is the id of the model to choose, ``title`` how the page calls it; both may be empty.
    """
    with sync_playwright() as playwright:
        # As root, Chromium's own sandbox does not work.
        flags = ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=flags)
        page = browser.new_page()
        page.set_default_timeout(LIMIT_MS)
        try:
            page.goto(url)
            if model:
                page.get_by_role("combobox", name="Who answers").click()
                page.get_by_role("option").filter(has_text=title).click()
            box = page.get_by_test_id("stChatInput").locator("input[type=file]")
            box.set_input_files(picture)
            heading = page.get_by_role("heading", name=SENTENCE)
            expect(heading).to_be_visible(timeout=LIMIT_MS)
            if model:
                expect(page.get_by_text(f"Model: {model}")).to_be_visible(timeout=LIMIT_MS)
            return heading.inner_text()
        except (BrowserFailed, AssertionError) as exc:  # the latter is `expect`'s
            shown = page.locator("body").inner_text()
            raise Failed(f"{url}: {exc}\nThe page says:\n{shown}") from exc


# --- what goes wrong -----------------------------------------------------------------------------


@contextmanager
def asking(stage: Stage) -> Iterator[None]:
    """Keep asking v1's backend until the end of the block; all must be answered."""
    url, picture = f"{stage.urls[COMPONENT]}/predict", stage.picture("cat.jpg")
    count, failures, stopped = 0, list[str](), threading.Event()

    def ask() -> None:
        nonlocal count
        while not stopped.wait(PAUSE_S):
            count += 1
            try:
                predicted(url, picture)
            except (Failed, requests.RequestException) as exc:
                failures.append(str(exc))

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield
        finally:
            stopped.set()
    asked.result()
    if failures or not count:
        raise Failed(f"of {count} questions asked meanwhile {len(failures)} failed: {failures[:1]}")
    stage.note(f"{count} questions were asked meanwhile, and all were answered")


def go_wrong_and_back(stage: Stage) -> None:
    """Deploy a good revision, broken ones after it, and go back to the first."""
    first = stage.serving(SERVICE)
    with stage.step("deploy the changed code"), asking(stage):
        stage.deploy(COMPONENT)
        good = newly_serving(stage, first)
    for kind, (before, after) in FAULTS.items():
        app = stage.source / APP
        whole = app.read_text("utf-8")
        app.write_text(f"{before}{whole}{after}", "utf-8")
        stage.build(COMPONENT, f"build one that {kind}")
        app.write_text(whole, "utf-8")
        with stage.step(f"deploy one that {kind}"), asking(stage):
            stage.run(f"deploy_{COMPONENT}.sh", fails=True)
            _expect_serving(stage, good)
            stage.note(f"{good} serves as before")
    with stage.step("rollback.sh"), asking(stage):
        stage.run("rollback.sh", COMPONENT)
        _expect_serving(stage, first)
        stage.note(f"{first} serves again, after {good}")


def newly_serving(stage: Stage, before: str) -> str:
    """Return the revision that serves; Failed where it is the one from before."""
    if (serving := stage.serving(SERVICE)) == before:
        raise Failed(f"{before} still serves: the new revision got no traffic")
    return serving


def _expect_serving(stage: Stage, revision: str) -> None:
    if (serving := stage.serving(SERVICE)) != revision:
        raise Failed(f"{serving} serves, not {revision}")


def deploy_at_once(stage: Stage, good: str, broken: str) -> None:
    """Deploy a good and a broken build at once: the good one is released, and nobody else's."""
    for offset in OFFSETS_S:
        name = f"deploy two at once, {offset} s apart"
        with stage.step(name), asking(stage):
            before = stage.serving(SERVICE)
            with ThreadPoolExecutor(1) as pool:
                other = pool.submit(stage.deploy, COMPONENT, TAG=good)
                time.sleep(offset)
                stage.run(f"deploy_{COMPONENT}.sh", fails=True, TAG=broken)
                other.result()
            about = stage.rehearsal.store.get("services", SERVICE) or {}
            if any("tag" in target for target in about["spec"]["traffic"]):
                raise Failed("a tag is left")
            stage.note(f"{newly_serving(stage, before)} serves, after {before}")


def freeze(stage: Stage) -> None:
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
        raise Failed(f"workers were ended in {ended}")
    stage.note(f"{', '.join(own)}: stopped for {FROZEN_S} s, and answered as before")


def _ask_each(http: requests.Session, containers: dict[str, str]) -> None:
    for name, port in containers.items():
        path = "/_stcore/health" if "frontend" in name else "/ready"
        http.get(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S).raise_for_status()
