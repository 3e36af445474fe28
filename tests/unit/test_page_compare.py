"""Comparing all models: on the page, without it, and as a chart."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from imgserve.contract import PredictAnswer, Prediction
from imgserve.errors import BackendNotReady, BackendUnreachable
from imgserve.frontend.asking import LOOKING, MODELS_AT_ONCE, WAKING, Asking
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import Failure
from imgserve.frontend.model_choice import KnownModel
from imgserve.frontend.outcomes import COLUMNS, Comparison, class_shares, sentence
from tests.unit.page_driver import GONE, INCOMPLETE, LARGE, SMALL, URL, Backend, Page, answer
from tests.unit.waiting import wait_until

FIRST, SECOND, THIRD, FOURTH = map(KnownModel, ("first", "second", "third", "fourth"))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, root: Path) -> Page:
    return Page(root / "frontend_v2", monkeypatch)


@pytest.fixture
def page(fresh: Page) -> Page:
    fresh.pick("all")
    return fresh


def test_every_model_answers_about_the_same_picture(page: Page) -> None:
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
    page.backend.usual = None
    assert "Model: third" in page.pick("third")  # asks anew
    assert page.backend.asked[-1] == (URL, "third")


def test_a_question_right_behind_a_choice_is_linked_with_it(fresh: Page) -> None:
    fresh.run()
    fresh.app.selectbox(key="model").set_value("all")  # and the page is not drawn in between
    fresh.submit(URL)
    assert fresh.header == "3 of 3 models agree: tabby"
    assert fresh.query["model"] == "all"


def test_models_are_asked_for_many_classes_so_that_each_has_the_others(
    fresh: Page,
) -> None:
    facts = {"small": replace(SMALL, classes=1000), "large": replace(LARGE, classes=3)}
    fresh.backend.states |= facts
    fresh.pick("all")
    fresh.submit(URL)
    assert fresh.backend.top_k == {"small": 50, "large": 3, "third": None}


def test_an_upload_is_not_fetched_and_what_did_not_come_back_is_left_out(page: Page) -> None:
    page.backend.usual = answer(thumbnail=None)
    assert "fetched" not in page.click("Cat")
    assert "<img" not in page.html


def test_a_model_that_fails_spoils_its_own_row_only(page: Page) -> None:
    page.backend.states["large"] = GONE
    page.backend.answers["large"] = [GONE, answer(category="lynx", model="large")]
    page.submit(URL)
    assert page.header == "2 of 3 models agree: tabby"
    assert page.rows[2][1:] == ["", "", "The backend of large cannot be reached."]
    page.click("Try again")
    assert len(page.backend.asked) == 6


def test_without_any_answer_there_is_every_reason(page: Page) -> None:
    page.backend.usual = BackendUnreachable("http://inner refused")
    words = page.submit(URL)
    assert page.header == "No model answered"
    assert words.count("cannot be reached at the moment") == 3
    assert "inner" not in words
    assert "fetched" not in words


def test_a_link_to_a_comparison_opens_it_though_the_list_is_late(fresh: Page) -> None:
    fresh.query.update(url=URL, model="all")
    fresh.backend.list_failure = BackendUnreachable("refused")
    assert "cannot be reached" in fresh.run()
    fresh.backend.list_failure = None
    fresh.click("Try again")
    assert fresh.header == "3 of 3 models agree: tabby"


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


def compared(
    backend: Backend, *models: str, show: Callable[[str], None], wake_timeout_s: float = 0.1
) -> Comparison:
    """Compare models where there is no page, and ``show`` what is drawn meanwhile."""
    place: Any = SimpleNamespace(html=show)
    asking = Asking([Picture(URL)], backend, place, wake_timeout_s)
    return asking.compare([KnownModel(model) for model in models])


def test_answers_are_shown_as_they_come_whatever_the_order() -> None:
    def first() -> PredictAnswer:
        wait_until(lambda: "1 of 2 models have answered" in shown[-1])
        return answer()

    shown: list[str] = []
    backend = Backend()
    backend.answers = {"first": first, "second": answer()}
    outcomes = compared(backend, "first", "second", show=shown.append)
    assert [model.id for model in outcomes] == ["first", "second"]


def test_few_models_are_asked_at_once() -> None:
    shown: list[str] = []
    backend = Backend()
    backend.usual = lambda: time.sleep(0.02) or answer()
    assert len(compared(backend, *"abcdefgh", show=shown.append)) == 8
    assert 1 < max(html.count(LOOKING) for html in shown) <= MODELS_AT_ONCE


def test_a_model_that_wakes_is_waited_for_and_said_to_wake() -> None:
    shown: list[str] = []
    backend = Backend()
    backend.answers = {"first": [BackendNotReady("loading"), answer()]}
    (outcome,) = compared(backend, "first", show=shown.append, wake_timeout_s=30).values()
    assert isinstance(outcome, Answered)
    assert any(WAKING in html for html in shown)


class Left(Exception):
    """The person went elsewhere; Streamlit raises something of its own."""


def test_a_person_who_leaves_ends_the_waiting() -> None:
    def leave(html: str) -> None:
        if WAKING in html:
            raise Left

    backend = Backend()
    backend.usual = BackendNotReady("loading")
    with pytest.raises(Left):
        compared(backend, "first", show=leave, wake_timeout_s=60)
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(10)
            assert not thread.is_alive()
    assert len(backend.asked) <= 3


def test_a_fault_of_ours_is_not_taken_for_silence() -> None:
    backend = Backend()
    backend.usual = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        compared(backend, "first", show=len)


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
