"""The pages that have several models, with what their backends say chosen by each test."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from imgserve.errors import BackendTimeout, BackendUnreachable, RequestRefused
from imgserve.frontend import model_choice
from imgserve.frontend.model_choice import Models
from tests.unit.page_driver import GONE, LARGE, URL, Page, answer


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, root: Path) -> Page:
    return Page(root / "frontend_v2", monkeypatch)


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page look again at what is unsettled each time it could."""
    monkeypatch.setattr(model_choice, "LOOK_EVERY_S", 0)


@pytest.mark.parametrize(
    ("component", "url"),
    [("frontend_v2", "http://backend.test"), ("v3/frontend", "http://gateway.test")],
)
def test_each_page_asks_the_address_it_was_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, component: str, url: str
) -> None:
    page = Page(root / component, monkeypatch)
    assert "tabby" in page.submit(URL)
    assert page.backend.base_url == url
    assert page.backend.asked == [(URL, "small")]


def test_the_picker_shows_size_accuracy_and_state_of_each_model(page: Page) -> None:
    page.run()
    assert page.choices[:2] == [
        "Small-Net · ready · 75.1% right on ImageNet · 4.7 M parameters",
        "Large Net · asleep · 71.6% right on ImageNet · 138.4 M parameters",
    ]
    assert page.choices[3:] == ["Compare all models"]
    assert page.picked == "small"
    assert "model" not in page.query
    assert "alert" not in page.html


def test_a_choice_is_kept_sent_with_each_question_and_in_the_address(page: Page) -> None:
    page.submit(URL)
    assert page.query == {"url": URL, "model": "small"}
    page.backend.answers["large"] = answer(category="lynx", model="large")
    page.pick("large")  # answers the shown picture again
    assert page.header == "I think this is an image of a lynx"
    assert page.query == {"url": URL, "model": "large"}
    assert "Model: large" in page.click("Cat")
    assert [model for _, model in page.backend.asked] == ["small", "large", "large"]
    assert page.query == {"sample": "Cat", "model": "large"}


def test_a_link_to_a_result_names_the_model_too_and_the_way_back_leads_to_the_earlier(
    page: Page,
) -> None:
    page.query.update(url=URL, model="large")
    assert "Model: large" in page.run()
    assert page.picked == "large"
    page.run()
    page.query["model"] = "small"
    page.run()
    assert page.backend.asked == [(URL, "large"), (URL, "small")]
    assert page.picked == "small"


def test_a_link_that_was_followed_is_left_as_it_is(page: Page) -> None:
    page.pick("large")
    page.query.pop("model")
    page.query["url"] = URL
    assert "tabby" in page.run()
    assert "model" not in page.query


def test_a_link_to_a_model_that_is_not_there_says_so_and_the_default_answers(page: Page) -> None:
    page.query.update(url=URL, model="![x](y)")
    words = page.run()
    assert "There is no model ![x](y) here: Small-Net answers" in words
    assert page.backend.asked == [(URL, "small")]
    assert page.query["model"] == "![x](y)"  # so that the way back stays open


def test_two_people_with_two_models_do_not_meet(page: Page, root: Path) -> None:
    other = Page(root / "frontend_v2", page.patch, page.backend)
    page.pick("large")
    other.pick("third")
    for person, model in ((page, "large"), (other, "third")) * 2:
        person.submit(URL)
        assert f"Model: {model}" in person.click("Cat")
        assert page.backend.asked[-1][1] == model


def test_the_list_is_kept_for_a_while_and_outlives_a_failure(page: Page) -> None:
    page.pick("large")
    page.run()
    assert page.backend.looked_at.count("list") == 1
    page.patch.setattr(model_choice, "KEPT_S", -1)
    page.backend.list_failure = BackendUnreachable("refused")
    assert "cannot be loaded at" in page.run()
    assert page.backend.looked_at.count("list") == 2
    assert page.picked == "large"


@pytest.mark.parametrize(
    ("state", "mark", "sentence"),
    [
        (GONE, "away", "large is away. The backend of large cannot be reached."),
        (BackendTimeout("slow"), "away", "large is away. The classifier took too long"),
        (replace(LARGE, detail="no weights"), "not available", "cannot be loaded. no weights"),
        (replace(LARGE, state="loading"), "loading", "answers in a moment"),
    ],
    ids=["away", "silent", "unavailable", "loading"],
)
def test_a_model_that_cannot_answer_is_marked_and_choosing_it_says_why(
    page: Page, state: Any, mark: str, sentence: str
) -> None:
    page.backend.states["large"] = state
    page.run()
    assert mark in page.choices[1]
    reasons = [] if mark == "loading" else ["Models that cannot answer: 1"]
    assert re.findall("<summary>(.*?)</summary>", page.html) == reasons
    assert sentence in page.pick("large")
    assert "Models that cannot" not in page.html


def test_reasons_of_several_models_are_listed(page: Page) -> None:
    page.backend.states |= {"large": GONE, "third": BackendUnreachable("http://inner refused")}
    words = page.run()
    assert "Models that cannot answer: 2" in words
    assert "<b>large</b>: The backend of large cannot be reached" in page.html
    assert "inner" not in words


@pytest.mark.usefixtures("always_due")
def test_a_model_that_comes_back_is_seen_without_a_click_or_a_look_at_others(page: Page) -> None:
    page.backend.states["large"] = GONE
    page.run()
    assert page.choices[1] == "large · away"
    assert page.backend.looked_at.count("list") == 2
    assert page.app.session_state["models"].unchanged == 1  # and nothing is drawn anew
    page.backend.states["large"] = LARGE
    page.backend.looked_at.clear()
    page.run()
    assert page.choices[1].startswith("Large Net · asleep")
    assert page.backend.looked_at == ["list", "large"]


def test_a_model_that_goes_away_keeps_its_name_and_is_away_in_french_too(page: Page) -> None:
    page.patch.setattr(model_choice, "KEPT_S", -1)
    page.query["lang"] = "fr"
    page.run()
    page.backend.states["large"] = BackendTimeout("slow")
    words = page.run()
    assert page.choices[1].startswith("Large Net · absent")
    assert "Le classificateur a mis trop longtemps à répondre." in words


def test_looks_become_rarer_while_nothing_changes() -> None:
    waits = [Models(looked_at_s=0, unchanged=count).next_look_s for count in (0, 1, 5, 10_000)]
    assert waits == sorted(waits)
    assert waits[0] == model_choice.LOOK_EVERY_S
    assert waits[-1] == model_choice.SLOWEST_LOOK_S


def test_a_missing_list_leaves_the_page_usable(page: Page) -> None:
    page.backend.list_failure = BackendUnreachable("http://inner refused")
    words = page.run()
    assert "The list of models cannot be loaded at" in words
    assert "inner" not in words
    assert not page.app.selectbox
    assert "cannot be reached" in page.submit(URL)
    page.backend.list_failure = None
    assert "tabby" in page.click("Try again")
    assert page.backend.asked == [(URL, "small")]
    assert page.picked == "small"
    assert "alert" not in page.html


@pytest.mark.usefixtures("always_due")
def test_a_missing_list_comes_back_by_itself(page: Page) -> None:
    page.backend.list_failure = BackendUnreachable("refused")
    page.run()
    page.backend.list_failure = None
    assert "cannot be loaded at" not in page.run()
    assert page.picked == "small"


def test_a_linked_model_is_asked_though_the_list_is_missing(page: Page) -> None:
    page.backend.list_failure = BackendUnreachable("refused")
    page.query.update(url=URL, model="large")
    assert "Model: large" in page.run()


def test_an_answer_wakes_the_mark_of_its_model(page: Page) -> None:
    page.pick("large")
    page.backend.states["large"] = replace(LARGE, state="ready")
    assert "tabby" in page.submit(URL)
    assert page.choices[1].startswith("Large Net · ready")
    assert len(page.backend.asked) == 1


def test_a_failure_shows_what_has_become_of_the_model_but_not_a_refused_picture(page: Page) -> None:
    gone, refused = RequestRefused("gone", "x", 502), RequestRefused("no picture", "x", 415)
    page.backend.answers["small"] = [refused, gone]
    page.run()
    page.backend.looked_at.clear()
    assert "No picture." in page.submit(URL)
    assert page.backend.looked_at == []
    page.backend.states["small"] = gone
    assert "Gone." in page.submit(URL)
    assert page.choices[0].startswith("Small-Net · away")


@pytest.mark.parametrize(("choice", "model"), [("large", "large"), ("all", "small")])
def test_many_links_go_to_one_model(page: Page, choice: str, model: str) -> None:
    page.pick(choice)
    words = page.submit(f"{URL}\n{URL}?2")
    assert "2 of 2 pictures classified" in words
    assert page.backend.asked == [(URL, model), (f"{URL}?2", model)]
    assert ("Many pictures go to one model" in words) == (choice == "all")
