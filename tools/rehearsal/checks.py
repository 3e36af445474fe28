"""What must be seen: answers, pages, and a service that goes on answering whatever goes wrong."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import requests
from playwright.sync_api import Error as BrowserFailed
from playwright.sync_api import expect, sync_playwright

from tools.process import Failed
from tools.rehearsal.host import CHROMIUM, find
from tools.rehearsal.stage import LIMIT_S, Stage

PAUSE_S = 0.5
PICTURE, ANSWER = "imgserve/samples/espresso.jpg", "espresso"
SENTENCE = re.compile("I think this is an image of an? ")
LIMIT_MS = 60_000  # a container may have to start first
BACKEND = "backend_v1"  # whose code is changed and broken
# What is written before and after the app's code, by what goes wrong.
FAULTS = {
    "does not start": ('raise RuntimeError("This revision is broken on purpose.")\n', ""),
    "fails its smoke test": ("", "app.view_functions['predict'] = lambda: 1 / 0\n"),
}


def ask(stage: Stage, backend: str, page: str) -> None:
    """Ask a backend as curl would, about each of its models; then its page, about two of them."""
    url = stage.urls[backend]
    models = [] if backend == BACKEND else requests.get(f"{url}/models", timeout=LIMIT_S).json()
    for path in [f"/model/{model}/predict" for model in models] or ["/predict"]:
        if (category := predicted(stage, url + path)) != ANSWER:
            raise Failed(f"{url}{path} takes {PICTURE} for {category!r}")
        stage.notes.append(f"{url}{path}: {category}")
    ask_page(stage, page)
    for model in [*models][1:2]:
        about = requests.get(f"{url}/model/{model}", timeout=LIMIT_S).json()
        ask_page(stage, page, model, about["title"])


def predicted(stage: Stage, url: str) -> str:
    """Return the category that a backend gives the picture, or Failed."""
    with (stage.source / PICTURE).open("rb") as file:
        answer = requests.post(url, files={"image": file}, timeout=LIMIT_S)
    if not answer.ok:
        raise Failed(f"{url} answered {answer.status_code}: {answer.text[:200]}")
    return str(answer.json()["predictions"][0]["category"])


def ask_page(stage: Stage, page: str, model: str = "", title: str = "") -> None:
    """Ask a page in Chromium, of one model where it is named; Failed where the answer is wrong."""
    url = stage.urls[page]
    with sync_playwright() as playwright:
        flags = ["--no-sandbox"]  # as root, Chromium's own does not work
        browser = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=flags)
        tab = browser.new_page()
        tab.set_default_timeout(LIMIT_MS)
        try:
            tab.goto(url)
            if model:
                tab.get_by_role("combobox", name="Who answers").click()
                tab.get_by_role("option").filter(has_text=title).click()
            box = tab.get_by_test_id("stChatInput").locator("input[type=file]")
            box.set_input_files(stage.source / PICTURE)
            heading = tab.get_by_role("heading", name=SENTENCE)
            expect(heading).to_contain_text(ANSWER, timeout=LIMIT_MS)
            if model:
                expect(tab.get_by_text(f"Model: {model}")).to_be_visible(timeout=LIMIT_MS)
            stage.notes.append(f"{url} {title}: {heading.inner_text()}")
        except (BrowserFailed, AssertionError) as exc:  # the latter is `expect`'s
            shown = tab.locator("body").inner_text()
            raise Failed(f"{url}: {exc}\nThe page says:\n{shown}") from exc


@contextmanager
def asking(stage: Stage) -> Iterator[None]:
    """Keep asking v1's backend until the end of the block; all must be answered."""
    url, count, failures, stopped = stage.urls[BACKEND], 0, list[str](), threading.Event()

    def keep_asking() -> None:
        nonlocal count
        while not stopped.wait(PAUSE_S):
            count += 1
            try:
                predicted(stage, f"{url}/predict")
            except (Failed, requests.RequestException) as exc:
                failures.append(str(exc))

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(keep_asking)
        try:
            yield
        finally:
            stopped.set()
    asked.result()
    if failures or not count:
        raise Failed(f"of {count} questions asked meanwhile {len(failures)} failed: {failures[:1]}")
    stage.notes.append(f"{count} questions were asked meanwhile, and all were answered")


def go_wrong_and_back(stage: Stage) -> str:
    """Deploy the newest build, broken ones after it, and go back; return a broken one's tag."""
    first = stage.serving(BACKEND)
    with stage.step("deploy the changed code"), asking(stage):
        stage.deploy(BACKEND)
        good = newly_serving(stage, BACKEND, first)
    for kind in FAULTS:
        with stage.step(f"deploy one that {kind}"), asking(stage):
            tag = push_broken(stage, kind)
            stage.run(f"deploy_{BACKEND}.sh", fails=True, TAG=tag, PAUSE_S="0")
            _expect_serving(stage, good)
    with stage.step("rollback.sh"), asking(stage):
        stage.run("rollback.sh", BACKEND)
        _expect_serving(stage, first)
    return tag


def push_broken(stage: Stage, kind: str) -> str:
    """Push the newest image with a fault in its app; return its tag."""
    (before, after), folder = FAULTS[kind], stage.log.with_suffix("")
    tag, image = kind.replace(" ", "-"), stage.image(BACKEND)
    folder.mkdir()
    app = (stage.source / BACKEND / "app.py").read_text("utf-8")
    (folder / "app.py").write_text(f"{before}{app}{after}", "utf-8")
    (folder / "Dockerfile").write_text(f"FROM {image}:latest\nCOPY app.py service/app.py\n")
    stage.rehearsal.docker.run("build", f"--tag={image}:{tag}", str(folder))
    stage.rehearsal.docker.run("push", f"{image}:{tag}")
    return tag


def newly_serving(stage: Stage, component: str, before: str) -> str:
    """Return the revision that serves; Failed where it is the one from before."""
    if (serving := stage.serving(component)) == before:
        raise Failed(f"{before} still serves: the new revision got no traffic")
    stage.notes.append(f"{serving} serves, after {before}")
    return serving


def _expect_serving(stage: Stage, revision: str) -> None:
    if (serving := stage.serving(BACKEND)) != revision:
        raise Failed(f"{serving} serves, not {revision}")
    stage.notes.append(f"{revision} serves")


def deploy_at_once(stage: Stage, good: str, broken: str) -> None:
    """Deploy a good and a broken build at once: the good one is released, and nobody else's."""
    for offset in (-4, 0, 4):  # seconds from the good one to the broken one
        with stage.step(f"deploy two at once, {offset} s apart"), asking(stage):
            before = stage.serving(BACKEND)
            with ThreadPoolExecutor(2) as pool:
                released = pool.submit(_deploy_later, stage, -offset, TAG=good)
                refused = pool.submit(_deploy_later, stage, offset, TAG=broken, fails=True)
            released.result()
            refused.result()
            if any("tag" in target for target in stage.service(BACKEND)["spec"]["traffic"]):
                raise Failed("a tag is left")
            newly_serving(stage, BACKEND, before)


def _deploy_later(stage: Stage, seconds: int, **options: Any) -> None:
    time.sleep(max(0, seconds))
    stage.run(f"deploy_{BACKEND}.sh", **options)
