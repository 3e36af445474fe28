"""A real browser, as fixtures, and what a person does with it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.rehearsal.host import CHROMIUM, find

PHONE = {"width": 390, "height": 844}
TIMEOUT_MS = 60_000  # a busy machine's first answer; Playwright's own default is 5 s

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium; a missing one skips, which CI counts as a failure.

    It ends with the tests of a file: Playwright runs an event loop in the thread of all tests.
    """
    program = find(*CHROMIUM)
    if program is None:
        pytest.skip("no chromium: install Debian's package chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs privileges that a container does not give.
        # Its camera shows a moving pattern, and may be used without a question.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        flags = ["--no-sandbox", *camera]
        launched = playwright.chromium.launch(executable_path=program, args=flags)
        expect.set_options(timeout=TIMEOUT_MS)
        yield launched
        expect.set_options(timeout=None)
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Return a function that opens an address as a new person, with nothing remembered.

    When the test ends, it has failed if the page ran into an error of its own.
    """
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(address: str, **context: Any) -> Page:
        page = browser.new_context(**context).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        page.goto(address)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert errors == []


def paste(page: Page, text: str) -> None:
    """Write something into the box, and press Enter."""
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(text)
    box.press("Enter")


def hand_over(page: Page, *files: Path) -> None:
    """Choose files."""
    page.get_by_test_id("stChatInput").locator("input[type=file]").set_input_files(files)


def fits(page: Page) -> bool:
    """Return whether nothing asks for scrolling sideways."""
    wide = "e => e.scrollWidth > e.clientWidth"
    return not any(page.locator(part).evaluate(wide) for part in ("html", "[data-testid=stMain]"))
