"""People with browsers who each choose a model: real Chromium, Streamlit and models."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from imgserve.frontend.messages import percent
from tests.services.browser import OpenPage, choose, expect_answer_of, fits, paste
from tests.services.conftest import MODELS, Backend, StartBackend
from tests.unit import pictures

TITLES = {f"efficientnet_lite{size}": f"EfficientNet-Lite{size}" for size in range(3)}
TO_COMPARE = "Compare all models"


@pytest.fixture(scope="module")
def backend_v2(start_backend: StartBackend) -> Backend:
    return start_backend("backend_v2.app:app", MODEL_NAME="", MODELS=",".join(MODELS))


@pytest.fixture(scope="module")
def page_url(frontend: Callable[..., str], backend_v2: Backend) -> str:
    return frontend(backend_v2.url, "frontend_v2")


def shares(backend: Backend, model: str, name: str) -> list[str]:
    """Return the percentages of a model's answer, as the page shows them."""
    with pictures.path(name).open("rb") as picture:
        url = f"{backend.url}/model/{model}/predict"
        answer = requests.post(url, files={"image": picture}, timeout=60).json()
    return [percent(top["probability"]) for top in answer["predictions"]]


def answered_by(page: Page, model: str, expected: list[str]) -> None:
    """Wait for the answer of this model, and see that the figures are its own."""
    expect_answer_of(page, model)
    expect(page.locator(".bars li > span:nth-child(2)")).to_have_text(expected)


def test_two_people_with_two_models_at_once_each_get_their_own(
    open_page: OpenPage, page_url: str, picture_host: Any, backend_v2: Backend
) -> None:
    first, second = open_page(page_url), open_page(page_url)
    chosen = {"efficientnet_lite1": first, "efficientnet_lite2": second}
    for model, page in chosen.items():
        choose(page, TITLES[model])
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        figures = {model: shares(backend_v2, model, name) for model in chosen}
        assert figures["efficientnet_lite1"] != figures["efficientnet_lite2"]
        for page in chosen.values():  # the second asks while the first waits
            paste(page, picture_host.url(name))
        for model, page in chosen.items():
            answered_by(page, model, figures[model])
    for page in chosen.values():
        assert "imgserve" not in {cookie["name"] for cookie in page.context.cookies()}


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
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_url)
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
    assert [url for url in asked if not url.startswith((page_url, "data:", "blob:"))] == []
    linked = open_page(page.url)
    expect(linked.get_by_role("heading", name="3 of 3 models agree: espresso")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_compares_without_scrolling_sideways(
    open_page: OpenPage, page_url: str, scheme: str
) -> None:
    page = open_page(page_url, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    choose(page, TO_COMPARE)
    assert fits(page)
    page.get_by_role("button", name="Rocket", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("models"))).to_be_visible()
    expect(page.get_by_role("cell").filter(has_text="%").first).to_be_visible()
    assert fits(page)
