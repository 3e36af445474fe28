"""The page of v3: real Chromium, Streamlit, gateway and one backend for each model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import expect

from tests.services.browser import OpenPage, choose, expect_answer_of, expect_models
from tests.services.conftest import MODELS, Backend, StartBackend
from tests.services.gateway_process import Gateway

APP = "v3.backend.app:app"
FIRST, KILLED, LAST = MODELS
TITLES = {model: f"EfficientNet-Lite{model[-1]}" for model in MODELS}


class Services(NamedTuple):
    """Everything of v3 but the browser."""

    page_url: str
    gateway: Gateway
    backends: dict[str, Backend]


@pytest.fixture
def services(
    frontend: Callable[..., str], start_backend: StartBackend, root: Path
) -> Iterator[Services]:
    backends = {model: start_backend(APP, MODEL_NAME=model) for model in MODELS}
    gateway = Gateway(root, {model: backend.url for model, backend in backends.items()})
    gateway.wait_until()
    page_url = frontend("", "v3/frontend", API_GATEWAY=gateway.url, WAKE_TIMEOUT_S=2)
    yield Services(page_url, gateway, backends)
    gateway.stop()
    for backend in backends.values():
        backend.stop()


def test_the_page_says_which_model_is_away_and_the_others_answer(
    open_page: OpenPage, services: Services, start_backend: StartBackend
) -> None:
    page = open_page(services.page_url)
    expect_models(page, "ready", 3)
    services.backends[KILLED].stop()

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

    newcomer = open_page(f"{services.page_url}?model={KILLED}")
    expect(newcomer.get_by_role("alert")).to_contain_text(f"{KILLED} is away.")
    start_backend(APP, port=services.backends[KILLED].port, MODEL_NAME=KILLED)
    for person in (page, newcomer):  # nobody touches anything
        expect_models(person, "ready", 3)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()


def test_without_the_gateway_the_page_waits_says_so_and_recovers(
    open_page: OpenPage, services: Services, root: Path
) -> None:
    services.gateway.stop()
    page = open_page(services.page_url)
    expect(page.get_by_text("The list of models cannot be loaded")).to_be_visible()
    page.get_by_role("button", name="Espresso", exact=True).click()
    expect(page.get_by_test_id("stMain").get_by_text("waking up")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    backends = {model: backend.url for model, backend in services.backends.items()}
    again = Gateway(root, backends, PORT=str(services.gateway.port))
    try:
        expect_models(page, "ready", 3)
        page.get_by_role("button", name="Try again").click()
        expect_answer_of(page, FIRST)
        expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        again.stop()
