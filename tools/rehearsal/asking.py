"""Questions to what was deployed: as curl asks a backend, and as a person with a browser a page."""

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import requests
from playwright.sync_api import Error as BrowserFailed
from playwright.sync_api import Page, expect, sync_playwright

from tools.rehearsal.host import CHROMIUM, find
from tools.rehearsal.progress import Step, StepFailed
from tools.rehearsal.report import LIMIT_S

SENTENCE = re.compile("I think this is an image of an? ")
LIMIT_MS = 60_000  # a container may have to start first
PAUSE_S = 0.5


def predicted(url: str, picture: Path) -> str:
    """Return the category that a backend gives a picture, or StepFailed."""
    with picture.open("rb") as file:
        answer = requests.post(url, files={"image": file}, timeout=LIMIT_S)
    if not answer.ok:
        raise StepFailed(f"{url} answered {answer.status_code}: {answer.text[:200]}")
    category: str = answer.json()["predictions"][0]["category"]
    return category


@contextlib.contextmanager
def asking(step: Step, url: str, picture: Path) -> Iterator[None]:
    """Keep asking a backend until the end of the block; StepFailed unless all is answered."""
    answers, failures, stopped = list[str](), list[str](), threading.Event()

    def ask() -> None:
        while not stopped.wait(PAUSE_S):
            try:
                answers.append(predicted(url, picture))
            except (StepFailed, requests.RequestException) as exc:
                failures.append(str(exc))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    asked = len(answers) + len(failures)
    if failures or not answers:
        raise StepFailed(
            f"of {asked} questions asked meanwhile {len(failures)} failed: {failures[:1]}"
        )
    step.note(f"{asked} questions were asked meanwhile, and all were answered")


def ask_page(url: str, picture: Path, model: str = "", title: str = "") -> str:
    """Return the sentence that a page answers to an uploaded picture, in Chromium, or StepFailed.

    ``model`` is the id of the model to choose, ``title`` how the page calls it; both may be empty.
    """
    with sync_playwright() as playwright:
        # As root, Chromium's own sandbox does not work.
        flags = ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=flags)
        page = browser.new_page()
        try:
            page.goto(url, timeout=LIMIT_MS)
            if model:
                page.get_by_role("combobox", name="Who answers").click(timeout=LIMIT_MS)
                page.get_by_role("option").filter(has_text=title).click(timeout=LIMIT_MS)
            return _answer(page, picture, model)
        except (BrowserFailed, AssertionError) as exc:  # the latter is `expect`'s
            shown = page.locator("body").inner_text()
            raise StepFailed(f"{url}: {exc}\nThe page says:\n{shown}") from exc


def _answer(page: Page, picture: Path, model: str) -> str:
    box = page.get_by_test_id("stChatInput").locator("input[type=file]")
    box.set_input_files(picture, timeout=LIMIT_MS)
    heading = page.get_by_role("heading", name=SENTENCE)
    expect(heading).to_be_visible(timeout=LIMIT_MS)
    if model:
        expect(page.get_by_text(f"Model: {model}")).to_be_visible(timeout=LIMIT_MS)
    return heading.inner_text()
