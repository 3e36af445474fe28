"""The pages that have several models, with what their backends say chosen by each test."""

import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from imgserve.contract import Prediction
from imgserve.errors import BackendNotReady, BackendTimeout, BackendUnreachable, RequestRefused
from imgserve.frontend import model_choice
from imgserve.frontend.asking import LOOKING, MODELS_AT_ONCE, WAKING, Asking, ask_all
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import FAILURES, Failure
from imgserve.frontend.model_choice import KnownModel, Models
from imgserve.frontend.outcomes import COLUMNS, class_shares, sentence
from tests.unit.page_driver import DOG, GONE, INCOMPLETE, LARGE, URL, Backend, Page, answer
from tests.unit.waiting import wait_until

FIRST, SECOND, THIRD, FOURTH = map(KnownModel, ("first", "second", "third", "fourth"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, root: Path) -> Page:
    return Page(root / "frontend_v2", monkeypatch)


@pytest.mark.parametrize(
    ("component", "url", "model"),
    [
        ("frontend_v1", "http://backend.test", None),
        ("frontend_v2", "http://backend.test", "small"),
        ("v3/frontend", "http://gateway.test", "small"),
    ],
)
def test_each_page_asks_the_address_it_was_told_as_its_settings_say(
    root: Path, monkeypatch: pytest.MonkeyPatch, component: str, url: str, model: str | None
) -> None:
    page = Page(root / component, monkeypatch)
    monkeypatch.setenv("SERVING_TIMEOUT_S", "7")
    assert "tabby" in page.submit(URL)
    assert page.backend.base_url == url
    assert page.backend.settings.serving_timeout_s == 7
    assert page.backend.asked == [(URL, model)]


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
    page.query.pop("model")
    page.query["url"] = DOG
    assert "tabby" in page.run()
    assert page.backend.asked[-1] == (DOG, "small")
    assert "model" not in page.query  # a link that was followed is left as it is
    assert "Model: large" in page.pick("large")
    page.query.pop("model")
    assert "Model: small" in page.run()


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
    words = page.run()
    assert mark in page.choices[1]
    assert ("Models that cannot answer: 1" in words) == (mark != "loading")
    assert sentence.partition(". ")[2] in words
    words = page.pick("large")
    assert sentence in words
    assert "Models that cannot" not in words


def test_a_model_that_comes_back_is_seen_without_a_click_or_a_look_at_others(page: Page) -> None:
    page.patch.setattr(model_choice, "LOOK_EVERY_S", 0)
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


def test_a_missing_list_comes_back_by_itself(page: Page) -> None:
    page.patch.setattr(model_choice, "LOOK_EVERY_S", 0)
    page.backend.list_failure = BackendUnreachable("refused")
    page.run()
    page.backend.list_failure = None
    assert "cannot be loaded at" not in page.run()
    assert page.picked == "small"


def test_a_link_is_answered_though_the_list_is_missing_a_comparison_once_it_is_there(
    page: Page,
) -> None:
    page.backend.list_failure = BackendUnreachable("refused")
    page.query.update(url=URL, model="large")
    assert "Model: large" in page.run()
    page.query["model"] = "all"
    assert "cannot be reached" in page.run()
    page.backend.list_failure = None
    page.click("Try again")
    assert page.header == "3 of 3 models agree: tabby"


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


# --- all of them compared ------------------------------------------------------------------------


def test_every_model_answers_about_the_same_picture(page: Page) -> None:
    page.pick("all")
    page.backend.usual = answer(incomplete=True)
    words = page.submit(URL)
    assert page.header == "3 of 3 models agree: tabby"
    assert sorted(page.backend.asked) == [(URL, "large"), (URL, "small"), (URL, "third")]
    assert page.rows[0] == ["Model", "tabby", "lynx", "Time"]
    assert page.rows[1:] == [
        [title, "75.0%", "<0.1%", "10 ms"] for title in ("Small-Net", "Large Net", "Third")
    ]
    assert "fetched from its address once for each model" in words
    assert words.count(INCOMPLETE) == 1
    assert page.strip == ["tabby 75.0%"] * 3
    assert (page.query["url"], page.query["model"]) == (URL, "all")
    # As many classes as make it likely that each has the others', too.
    assert page.backend.top_k == {"small": 50, "large": 3, "third": None}
    page.backend.usual = None
    assert "Model: third" in page.pick("third")  # asks anew
    assert page.backend.asked[-1] == (URL, "third")


def test_a_question_right_behind_a_choice_is_linked_with_it(page: Page) -> None:
    page.run()
    page.app.selectbox(key="model").set_value("all")  # and the page is not drawn in between
    page.submit(URL)
    assert page.header == "3 of 3 models agree: tabby"
    assert page.query["model"] == "all"


def test_a_model_that_fails_spoils_its_own_row_only(page: Page) -> None:
    page.pick("all")
    page.backend.states["large"] = GONE
    page.backend.answers["large"] = [GONE, answer(category="lynx", model="large")]
    page.submit(URL)
    assert page.header == "2 of 3 models agree: tabby"
    assert page.rows[2][1:] == ["", "", "The backend of large cannot be reached."]
    page.click("Try again")
    assert len(page.backend.asked) == 6


def test_without_any_answer_there_is_every_reason_and_without_a_picture_none_is_shown(
    page: Page,
) -> None:
    page.pick("all")
    page.backend.usual = BackendUnreachable("http://inner refused")
    words = page.submit(URL)
    assert page.header == "No model answered"
    assert words.count("cannot be reached at the moment") == 3
    assert "inner" not in words
    page.backend.usual = answer(thumbnail=None)
    assert "fetched" not in words + page.click("Cat")
    assert "<img" not in page.html


def said(*predictions: Prediction) -> Answered:
    return Answered(answer(predictions=list(predictions)), 10)


CAT = said(Prediction("cat", 1, 0.9), Prediction("lynx", 2, 0.1))
LYNX = said(Prediction("lynx", 2, 0.6), Prediction("cat", 1, 0.2))
BIRD, OTHER_BIRD = said(Prediction("crane", 134, 0.5)), said(Prediction("crane", 3, 0.5))
FAILED = Failure("Gone.")


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([CAT, CAT, CAT], "3 of 3 models agree: cat"),
        ([CAT, LYNX, CAT], "2 of 3 models agree: cat"),
        ([CAT, FAILED, CAT], "2 of 3 models agree: cat"),
        ([CAT, LYNX], "The models disagree: cat and lynx"),
        ([CAT, LYNX, CAT, LYNX], "The models disagree: cat (2) and lynx (2)"),
        ([BIRD, OTHER_BIRD], "2 of 2 models agree: crane"),
        ([FAILED, LYNX], "Only second answered: lynx"),
        ([FAILED, FAILED], "No model answered"),
    ],
)
def test_the_sentence_says_who_agrees(outcomes: list[Answered | Failure], said: str) -> None:
    by_model = dict(zip((FIRST, SECOND, THIRD, FOURTH), outcomes, strict=False))
    assert sentence(by_model) == said


def test_a_class_is_known_by_its_name_and_the_few_most_believed_in_have_a_column() -> None:
    models = (FIRST, SECOND, THIRD, FOURTH)
    rows = class_shares({FIRST: BIRD.answer.predictions, SECOND: OTHER_BIRD.answer.predictions})
    assert rows == {"crane": {FIRST: 0.5, SECOND: 0.5}}
    many = {
        model: [Prediction(f"{model.id}{n}", n, 0.1 * n) for n in (4, 3, 2, 1)] for model in models
    }
    rows = class_shares(many)
    assert len(rows) == COLUMNS
    assert next(iter(rows)).endswith("4")
    assert not any(row.endswith("1") for row in rows)


# --- asking, where there is no page ---------------------------------------------------------------


def test_answers_are_shown_as_they_come_and_kept_in_order() -> None:
    def first() -> str:
        wait_until(lambda: shown and shown[-1] == [LOOKING, 2])
        return "one"

    shown: list[Any] = []
    assert ask_all([first, lambda: 2], shown.append, 1, 0.01, 2) == ["one", 2]


def test_few_models_are_asked_at_once() -> None:
    shown: list[str] = []
    backend = Backend()
    backend.usual = lambda: time.sleep(0.02) or answer()
    place: Any = SimpleNamespace(html=shown.append)
    models = [KnownModel(model) for model in "abcdefgh"]
    assert len(Asking([Picture(URL)], backend, place, 0.1).compare(models)) == 8
    assert 1 < max(html.count(LOOKING) for html in shown) <= MODELS_AT_ONCE


def asleep() -> None:
    raise BackendNotReady("loading")


def test_a_person_who_leaves_ends_the_waiting() -> None:
    def leave(stages: Any) -> None:
        if stages == [WAKING]:
            raise InterruptedError  # as Streamlit does with something of its own

    with pytest.raises(InterruptedError):
        ask_all([asleep], leave, 60, 0.01)
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(10)
            assert not thread.is_alive()


def test_waiting_ends_at_its_limit_or_at_once_where_it_cannot_mend() -> None:
    def ask(error: Exception) -> None:
        asked.append(error)
        raise error

    for kind in (BackendNotReady, BackendTimeout):
        asked: list[Exception] = []
        started = time.monotonic()
        assert ask_all([partial(ask, kind("late"))], print, 1.5, 60) == [FAILURES[kind]]
        assert time.monotonic() - started < 1.5
        assert (len(asked) > 1) == (kind is BackendNotReady)


def test_a_fault_of_ours_is_not_taken_for_silence() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_all([lambda: 1 // 0], print, 1, 1)
