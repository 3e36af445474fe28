"""The page of v3: real Chromium, Streamlit, gateway and one backend for each model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.services.browser import OpenPage, choose, expect_answer_of, expect_models
from tests.services.conftest import MODELS, Backend, StartBackend
from tests.services.gateway_process import Gateway

APP = "v3.backend.app:app"
FIRST, KILLED, LAST = MODELS
TITLES = {model: f"EfficientNet-Lite{model[-1]}" for model in MODELS}


@pytest.fixture
def backends(start_backend: StartBackend) -> Iterator[dict[str, Backend]]:
    started = {model: start_backend(APP, MODEL_NAME=model) for model in MODELS}
    yield started
    for backend in started.values():
        backend.stop()


@pytest.fixture
def page_url(
    frontend: Callable[..., str], backends: dict[str, Backend], root: Path
) -> Iterator[str]:
    gateway = Gateway(root, {model: backend.url for model, backend in backends.items()})
    gateway.wait_until()
    yield frontend("", "v3/frontend", API_GATEWAY=gateway.url, WAKE_TIMEOUT_S=2)
    gateway.stop()


def test_the_page_says_which_model_is_away_and_the_others_answer(
    open_page: OpenPage, page_url: str, backends: dict[str, Backend], start_backend: StartBackend
) -> None:
    page = open_page(page_url)
    expect_models(page, "ready", 3)
    backends[KILLED].stop()

    choose(page, TITLES[KILLED])
    page.get_by_role("button", name="Espresso", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(f"The backend of {KILLED} cannot be reached")
    expect_models(page, "away", 1)
    for model in (FIRST, LAST):
        choose(page, TITLES[model])
        expect_answer_of(page, model)

    choose(page, "Compare all models")
    expect(page.get_by_role("heading", name="2 of 3 models agree: espresso")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=TITLES[KILLED])
    expect(row).to_contain_text("cannot be reached")

    newcomer = open_page(f"{page_url}?model={KILLED}")
    expect(newcomer.get_by_role("alert")).to_contain_text(f"{KILLED} is away.")
    start_backend(APP, port=backends[KILLED].port, MODEL_NAME=KILLED)
    for person in (page, newcomer):  # nobody touches anything
        expect_models(person, "ready", 3)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()
