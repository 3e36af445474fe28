"""The pages that have several models, with what their backends say chosen by each test."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from imgserve.errors import (
    BackendTimeout,
    BackendUnreachable,
    RequestRefused,
)
from imgserve.frontend import model_list
from imgserve.frontend.messages import joined, parameters
from imgserve.frontend.model_list import KnownModels
from tests.unit.page_driver import (
    GONE,
    LARGE,
    URL,
    Backend,
    button,
    captions,
    new_page,
    pick,
    shown,
    stand_between,
    submit,
    submit_batch,
)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    return stand_between(monkeypatch)


@pytest.fixture
def app(backend: Backend, root: Path) -> AppTest:
    return new_page(root)


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page look again at what is unsettled each time it could."""
    monkeypatch.setattr(model_list, "LOOK_EVERY_S", 0)


@pytest.mark.parametrize(
    ("component", "url"),
    [("frontend_v2", "http://backend.test"), ("v3/frontend", "http://gateway.test")],
)
def test_each_page_asks_the_address_it_was_told(
    root: Path, backend: Backend, component: str, url: str
) -> None:
    app = submit(new_page(root, component).run(), URL)
    assert "tabby" in shown(app)
    assert backend.url == url
    assert backend.asked == [(URL, "small")]


def test_the_picker_shows_size_accuracy_and_state_of_each_model(app: AppTest) -> None:
    shown(app.run())
    small, large, *_ = captions(app).values()
    assert list(captions(app))[1:] == ["Large Net", "Third", "Compare all models"]
    assert app.radio(key="model").value == "small"
    assert all(words in small for words in ("ready", "4.7 M parameters", "75.1% top-1"))
    assert all(words in large for words in ("asleep", "138.4 M parameters", "71.6% top-1"))
    assert "model" not in app.query_params
    assert not app.warning


def test_a_choice_is_kept_sent_with_each_question_and_in_the_address(
    app: AppTest, backend: Backend
) -> None:
    pick(app.run(), "large")
    assert app.query_params["model"] == "large"
    submit(app, URL)
    assert "Model\\: large" in shown(button(app, "Cat").click().run())
    assert [model for _, model in backend.asked] == ["large", "large"]
    assert "url" not in app.query_params


def test_a_link_to_a_result_names_picture_and_model_and_answers_once(
    app: AppTest, backend: Backend
) -> None:
    app.query_params["url"], app.query_params["model"] = URL, "large"
    assert "Model\\: large" in shown(app.run())
    assert app.radio(key="model").value == "large"
    assert app.text_input(key="url").value == URL
    app.run()
    assert backend.asked == [(URL, "large")]


def test_a_link_that_was_followed_is_left_as_it_is(app: AppTest, backend: Backend) -> None:
    pick(app.run(), "large")
    app.query_params.pop("model")
    app.query_params["url"] = URL
    assert "tabby" in shown(app.run())
    assert "model" not in app.query_params


def test_going_back_to_an_earlier_model_answers_with_that(app: AppTest, backend: Backend) -> None:
    submit(app.run(), URL)
    assert (app.query_params["url"], app.query_params["model"]) == (URL, "small")
    pick(app, "large")
    app.query_params["model"] = "small"
    app.run()
    assert [model for _, model in backend.asked] == ["small", "large", "small"]
    assert app.radio(key="model").value == "small"


def test_a_link_to_a_model_that_is_not_there_says_so_and_the_default_answers(
    app: AppTest, backend: Backend
) -> None:
    app.query_params["url"], app.query_params["model"] = URL, "![x](y)"
    words = shown(app.run())
    assert r"There is no model \!\[x\]\(y\) here\: Small\-Net answers" in words
    assert backend.asked == [(URL, "small")]
    assert app.query_params["model"] == "![x](y)"  # so that the way back stays open


def test_the_list_is_kept_for_a_while(
    app: AppTest, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.run().run()
    assert backend.looked_at.count("list") == 1
    monkeypatch.setattr(model_list, "KEPT_S", -1)
    app.run()
    assert backend.looked_at.count("list") == 2


@pytest.mark.parametrize(
    ("state", "mark", "sentence"),
    [
        (GONE, "away", "large is away\\. The backend of large cannot be reached\\."),
        (BackendTimeout("slow"), "away", "large is away\\. The classifier took too long"),
        (
            msgspec.structs.replace(LARGE, detail="no weights"),
            "not available",
            "Large Net cannot be loaded\\. no weights",
        ),
        (msgspec.structs.replace(LARGE, state="loading"), "loading", "answers in a moment"),
    ],
    ids=["away", "silent", "unavailable", "loading"],
)
def test_a_model_that_cannot_answer_is_marked_and_choosing_it_says_why(
    app: AppTest, backend: Backend, state: Any, mark: str, sentence: str
) -> None:
    backend.states["large"] = state
    shown(app.run())
    assert mark in list(captions(app).values())[1]
    assert [expander.label for expander in app.expander] == (
        [] if mark == "loading" else ["Why 1 model cannot answer"]
    )
    assert sentence in shown(pick(app, "large"))
    assert not app.expander


def test_reasons_of_several_models_are_listed(app: AppTest, backend: Backend) -> None:
    backend.states |= {"large": GONE, "third": BackendUnreachable("http://inner refused")}
    words = shown(app.run())
    assert app.expander[0].label == "Why 2 models cannot answer"
    assert "- **large**: The backend of large cannot be reached" in words
    assert "inner" not in words


@pytest.mark.usefixtures("always_due")
def test_a_model_that_comes_back_is_seen_without_a_click_and_the_others_left_alone(
    app: AppTest, backend: Backend
) -> None:
    backend.states["large"] = GONE
    app.run()
    assert "away" in captions(app)["large"]
    backend.states["large"] = LARGE
    backend.looked_at.clear()
    app.run()
    assert "asleep" in captions(app)["Large Net"]
    assert backend.looked_at == ["list", "large"]


@pytest.mark.usefixtures("always_due")
def test_a_look_that_finds_nothing_new_draws_nothing_anew(app: AppTest, backend: Backend) -> None:
    backend.states["large"] = GONE
    shown(app.run())
    assert backend.looked_at.count("list") == 2
    assert app.session_state["models"].unchanged == 1


def test_a_model_that_goes_away_keeps_its_name(
    app: AppTest, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_list, "KEPT_S", -1)
    app.run()
    backend.states["large"] = GONE
    app.run()
    assert "away" in captions(app)["Large Net"]


def test_looks_become_rarer_while_nothing_changes() -> None:
    waits = [KnownModels(unchanged=count).next_look_s for count in (0, 1, 5, 10_000)]
    assert waits == sorted(waits)
    assert waits[0] == model_list.LOOK_EVERY_S
    assert waits[-1] == model_list.SLOWEST_LOOK_S


def test_a_missing_list_leaves_the_page_usable(app: AppTest, backend: Backend) -> None:
    backend.list_failure = BackendUnreachable("http://inner refused")
    words = shown(app.run())
    assert "The list of models cannot be loaded at" in words
    assert "inner" not in words
    assert not app.radio
    assert "cannot be reached" in shown(submit(app, URL))
    backend.list_failure = None
    assert "tabby" in shown(button(app, "Try again").click().run())
    assert backend.asked == [(URL, "small")]
    assert app.radio(key="model").value == "small"
    assert not app.warning


@pytest.mark.usefixtures("always_due")
def test_a_missing_list_comes_back_by_itself(app: AppTest, backend: Backend) -> None:
    backend.list_failure = BackendUnreachable("refused")
    app.run()
    backend.list_failure = None
    assert not shown(app.run()).count("cannot be loaded at")
    assert app.radio(key="model").value == "small"


def test_a_linked_model_is_asked_though_the_list_is_missing(app: AppTest, backend: Backend) -> None:
    backend.list_failure = BackendUnreachable("refused")
    app.query_params["url"], app.query_params["model"] = URL, "large"
    assert "Model\\: large" in shown(app.run())


def test_a_list_once_known_outlives_its_failure(
    app: AppTest, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_list, "KEPT_S", -1)
    pick(app.run(), "large")
    backend.list_failure = BackendUnreachable("refused")
    assert "cannot be loaded at" in shown(app.run())
    assert app.radio(key="model").value == "large"


def test_an_answer_wakes_the_mark_of_its_model(app: AppTest, backend: Backend) -> None:
    pick(app.run(), "large")
    backend.states["large"] = msgspec.structs.replace(LARGE, state="ready")
    assert "tabby" in shown(submit(app, URL))
    assert "ready" in captions(app)["Large Net"]
    assert len(backend.asked) == 1


def test_a_failure_shows_what_has_become_of_the_model(app: AppTest, backend: Backend) -> None:
    app.run()
    backend.states["small"] = backend.answers["small"] = RequestRefused("gone", "x", 502)
    assert "Gone\\." in shown(submit(app, URL))
    assert "away" in captions(app)[r"Small\-Net"]


def test_a_picture_that_is_refused_says_nothing_about_the_model(
    app: AppTest, backend: Backend
) -> None:
    app.run()
    backend.answers["small"] = RequestRefused("not a picture", "unsupported-format", 415)
    backend.looked_at.clear()
    assert "Not a picture" in shown(submit(app, URL))
    assert backend.looked_at == []


@pytest.mark.parametrize(("choice", "model"), [("large", "large"), ("all", "small")])
def test_many_links_go_to_one_model(
    app: AppTest, backend: Backend, choice: str, model: str
) -> None:
    words = shown(submit_batch(pick(app.run(), choice), f"{URL}\n{URL}"))
    assert "2 of 2 pictures classified" in words
    assert backend.asked == [(URL, model)] * 2
    assert ("A list of pictures goes to one model" in words) == (choice == "all")


def test_models_read_well() -> None:
    assert parameters(4_652_008) == "4.7 M parameters"
    assert [joined(["a", "b", "c"][:count]) for count in (1, 2, 3)] == [
        "a",
        "a and b",
        "a, b and c",
    ]
