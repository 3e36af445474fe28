"""A real Streamlit server and a real browser, as fixtures."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
START_TIMEOUT_S = 60
EXPECT_TIMEOUT_MS = 60_000  # a busy machine's first answer; Playwright's own default is 5 s

StartFrontend = Callable[..., str]
OpenPage = Callable[..., Page]


class Frontend:
    """One frontend, started as a container starts it, from the repository's root."""

    def __init__(self, component: str, root: Path, environ: dict[str, str], log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        address = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "imgserve.frontend", f"{component}/app.py"],
                cwd=root,
                env={**os.environ, **address, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until Streamlit says it is healthy."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(f"{self.url}/_stcore/health", timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{self.url} never became healthy:\n{self._log.read_text()}")

    def stop(self) -> int:
        """Stop the server as Cloud Run does; return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=10)  # Cloud Run's container contract gives no more
        finally:
            self._process.kill()


@pytest.fixture(scope="session")
def frontend(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartFrontend]:
    """Return a function that starts a frontend for a backend and returns its address."""
    started: list[Frontend] = []
    logs = tmp_path_factory.mktemp("frontends")

    def start(backend_url: str, component: str = "frontend_v1", **environ: Any) -> str:
        given = {"SERVING_URL": backend_url} | {name: str(environ[name]) for name in environ}
        started.append(Frontend(component, root, given, logs / f"{len(started)}.log"))
        started[-1].wait_until_ready()
        return started[-1].url

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium; a missing one skips, which CI counts as a failure."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}: install Debian's package chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs privileges that a container does not give.
        # Its camera shows a moving pattern, and may be used without a question.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        flags = ["--no-sandbox", *camera]
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        expect.set_options(timeout=EXPECT_TIMEOUT_MS)
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


def choose(page: Page, title: str) -> None:
    """Choose who answers."""
    page.get_by_role("combobox", name="Who answers").click()
    page.get_by_role("option").filter(has_text=title).click()


def expect_models(page: Page, word: str, count: int) -> None:
    """Wait until so many of the models in the list are said to be like this."""
    page.get_by_role("combobox", name="Who answers").click()
    expect(page.get_by_role("option").filter(has_text=word)).to_have_count(count)
    page.keyboard.press("Escape")


def expect_answer_of(page: Page, model: str) -> None:
    """Wait for the answer of a model."""
    expect(page.get_by_text(f"Model: {model}")).to_be_visible()
