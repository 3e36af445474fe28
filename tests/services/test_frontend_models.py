"""The pages of v2 and v3: real Chromium, Streamlit, and several real models.

v2's are in one backend; v3's have one each, behind the gateway.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.services.browser import PHONE, OpenPage, fits, paste
from tests.services.conftest import MODELS, Backend, StartBackend
from tests.services.gateway_process import Gateway

V3_APP = "v3.backend.app:app"
FIRST, KILLED, LAST = MODELS
TITLES = {model: f"EfficientNet-Lite{model[-1]}" for model in MODELS}
TO_COMPARE = "Compare all models"


@pytest.fixture(scope="module")
def page_url(frontend: Callable[..., str], start_backend: StartBackend) -> str:
    backend = start_backend("backend_v2.app:app", MODEL_NAME="", MODELS=",".join(MODELS))
    return frontend(backend.url, "frontend_v2")


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


def test_the_address_carries_picture_and_model_and_opens_them_again(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    paste(page, picture_host.url("coffee.png"))
    expect_answer_of(page, "efficientnet_lite0")
    choose(page, TITLES["efficientnet_lite1"])
    expect_answer_of(page, "efficientnet_lite1")
    expect(page).to_have_url(re.compile(r"url=.*&model=efficientnet_lite1$"))
    linked = open_page(page.url)
    expect_answer_of(linked, "efficientnet_lite1")
    page.go_back()
    expect_answer_of(page, "efficientnet_lite0")


def test_all_models_are_described_and_compared_side_by_side(
    open_page: OpenPage, page_url: str, picture_host: Any
) -> None:
    page = open_page(page_url)
    page.get_by_role("combobox", name="Who answers").click()
    expect(page.get_by_role("option")).to_have_count(len(MODELS) + 1)
    facts = "EfficientNet-Lite1 · .* · 76.7% right on ImageNet · 5.4 M parameters"
    expect(page.get_by_role("option").nth(1)).to_have_text(re.compile(facts))
    page.get_by_role("option").filter(has_text=TO_COMPARE).click()
    paste(page, picture_host.url("coffee.png"))
    expect(page.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()
    for title in TITLES.values():
        row = page.get_by_role("row").filter(has_text=title)
        expect(row).to_contain_text(re.compile(r"[\d.]+%.*[\d.]+ m?s"))
    expect(page.get_by_text("fetched from its address once for each model")).to_be_visible()
    linked = open_page(page.url)
    expect(linked.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()


def test_a_phone_compares_without_scrolling_sideways(open_page: OpenPage, page_url: str) -> None:
    page = open_page(page_url, viewport=PHONE)
    choose(page, TO_COMPARE)
    assert fits(page)
    page.get_by_role("button", name="Rocket", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("models"))).to_be_visible()
    expect(page.get_by_role("cell").filter(has_text="%").first).to_be_visible()
    assert fits(page)


# --- v3 ------------------------------------------------------------------------------------------


@pytest.fixture
def backends(start_backend: StartBackend) -> Iterator[dict[str, Backend]]:
    started = {model: start_backend(V3_APP, MODEL_NAME=model) for model in MODELS}
    yield started
    for backend in started.values():
        backend.stop()


@pytest.fixture
def v3_url(frontend: Callable[..., str], backends: dict[str, Backend], root: Path) -> Iterator[str]:
    gateway = Gateway(root, {model: backend.url for model, backend in backends.items()})
    gateway.wait_until()
    yield frontend("", "v3/frontend", API_GATEWAY=gateway.url, WAKE_TIMEOUT_S=2)
    gateway.stop()


def test_the_page_says_which_model_is_away_and_the_others_answer(
    open_page: OpenPage, v3_url: str, backends: dict[str, Backend], start_backend: StartBackend
) -> None:
    page = open_page(v3_url)
    expect_models(page, "ready", 3)
    backends[KILLED].stop()

    choose(page, TITLES[KILLED])
    page.get_by_role("button", name="Espresso", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(f"The backend of {KILLED} cannot be reached")
    expect_models(page, "away", 1)
    for model in (FIRST, LAST):
        choose(page, TITLES[model])
        expect_answer_of(page, model)

    choose(page, TO_COMPARE)
    expect(page.get_by_role("heading", name="2 of 3 models agree: espresso")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=TITLES[KILLED])
    expect(row).to_contain_text("cannot be reached")

    newcomer = open_page(f"{v3_url}?model={KILLED}")
    expect(newcomer.get_by_role("alert")).to_contain_text(f"{KILLED} is away.")
    start_backend(V3_APP, port=backends[KILLED].port, MODEL_NAME=KILLED)
    for person in (page, newcomer):  # nobody touches anything
        expect_models(person, "ready", 3)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()
