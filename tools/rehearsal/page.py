"""A person with a browser: real Chromium, driven by Playwright."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as BrowserFailed

from tools.rehearsal.host import CHROMIUM, find
from tools.rehearsal.progress import StepFailed

SENTENCE = re.compile("I think this is an image of an? ")
LIMIT_MS = 60_000  # a container may have to start first


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Have Chromium until the end of the block."""
    # As root, Chromium's own sandbox does not work.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find(*CHROMIUM), args=flags)
        try:
            yield launched
        finally:
            with contextlib.suppress(BrowserFailed):  # Ctrl-C has reached it, too
                launched.close()


def ask_page(browser: Browser, url: str, picture: Path, model: str = "", title: str = "") -> str:
    """Return the sentence that a page answers to an uploaded picture.

    Args:
        browser: the person's.
        url: of the page.
        picture: what is uploaded.
        model: the id of the model to choose; empty to choose none.
        title: how the page calls it.

    Raises:
        StepFailed: the page does not answer.
    """
    page = browser.new_context().new_page()
    try:
        page.goto(url, timeout=LIMIT_MS)
        if model:
            _choose(page, title)
        return _answer(page, picture, model)
    except (BrowserFailed, AssertionError) as exc:  # the latter is `expect`'s
        shown = page.locator("body").inner_text()
        raise StepFailed(f"{url}: {exc}\nThe page says:\n{shown}") from exc
    finally:
        page.context.close()


def _choose(page: Page, title: str) -> None:
    picker = page.get_by_test_id("stRadio").get_by_text(title, exact=True)
    picker.click(timeout=LIMIT_MS)


def _answer(page: Page, picture: Path, model: str) -> str:
    page.get_by_role("tab", name="Upload").click(timeout=LIMIT_MS)
    page.locator("input[type=file]").set_input_files(picture, timeout=LIMIT_MS)
    heading = page.get_by_role("heading", name=SENTENCE)
    expect(heading).to_be_visible(timeout=LIMIT_MS)
    if model:
        expect(page.get_by_text(f"Model: {model}")).to_be_visible(timeout=LIMIT_MS)
    return heading.inner_text()
