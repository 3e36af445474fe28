"""One model in a global: harmless in v1, where nobody writes it; wrong in v2, where callers do.

The original's way (``original``, below) and ours go through the very same calls. Nothing is left
to chance: gates say which thread goes on when, so that each race is lost every time.
"""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from imgserve.backend.app import many_models_app, one_model_app
from imgserve.models.classifier import Classifier
from imgserve.models.transform import Crop
from imgserve.settings import BackendSettings
from tests.unit import pictures
from tests.unit.pool_stand_in import Gate, PoolStandIn, classifier

ONE, TWO = "one", "two"
SETTINGS = BackendSettings(threads=2, secret_key="k")
CALLERS = 8


class Seen(NamedTuple):
    """What a caller sees of an answer: a model's name, and what that model alone would say."""

    model: str
    category: str


def models(gate: Gate) -> dict[str, Classifier]:
    """Return two models that see their own name; the first waits at the gate once it computed."""

    def one(_: Crop) -> np.ndarray:
        gate.pass_through()
        return np.array([[1.0, 0.0]])

    names = [alone(ONE).category, alone(TWO).category]
    two = classifier(TWO, names, lambda _: np.array([[0.0, 1.0]]))
    return {ONE: classifier(ONE, names, one), TWO: two}


def original(there: dict[str, Classifier]) -> Flask:
    """Return a backend that keeps the chosen model in two globals, as v2's original did."""
    app = Flask("original")
    kept = SimpleNamespace(model=there[ONE], name=ONE, between=lambda: None)
    app.config["KEPT"] = kept

    @app.put("/model/<model_id>")
    def choose(model_id: str) -> dict[str, str]:
        kept.model = there[model_id]
        kept.between()
        kept.name = model_id
        return {"model": kept.name}

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        probabilities = kept.model.probabilities(pictures.picture("coffee.png"))
        category = there[ONE].categories[probabilities.argmax()]
        return {"model": kept.name, "category": category}

    return app


def alone(model: str) -> Seen:
    """Return what a caller is answered where nobody else asks."""
    return Seen(model, f"a picture seen by {model}")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that is open until a test closes it."""
    made = Gate()
    made.opened.set()
    yield made
    made.opened.set()


@pytest.fixture
def global_app(gate: Gate) -> Flask:
    app = original(models(gate))
    app.config["GATE"] = gate
    return app


@pytest.fixture
def v2_app(gate: Gate) -> Flask:
    app = many_models_app(SETTINGS, PoolStandIn(models(gate)))
    app.config["GATE"] = gate
    return app


def predict(caller: FlaskClient) -> Seen:
    """Return what a caller is answered who names no model."""
    picture = io.BytesIO(pictures.path("coffee.png").read_bytes())
    answer = caller.post("/predict", data={"image": (picture, "coffee.png")}).get_json()
    return Seen(answer["model"], answer["category"])


def choose(caller: FlaskClient, model: str) -> None:
    assert caller.put(f"/model/{model}").get_json()["model"] == model


def one_after_the_other(app: Flask) -> Seen:
    """A chooses, B chooses otherwise, A asks: return what A is answered."""
    a, b = app.test_client(), app.test_client()
    choose(a, ONE)
    choose(b, TWO)
    return predict(a)


def between_choice_and_question(app: Flask) -> Seen:
    """Both at once, on two threads: B's choice falls between A's choice and A's question."""
    a_has_chosen, b_has_chosen = Event(), Event()

    def as_a() -> Seen:
        caller = app.test_client()
        choose(caller, ONE)
        a_has_chosen.set()
        assert b_has_chosen.wait(10)
        return predict(caller)

    def as_b() -> None:
        assert a_has_chosen.wait(10)
        choose(app.test_client(), TWO)
        b_has_chosen.set()

    with ThreadPoolExecutor(2) as threads:
        answer, _ = threads.submit(as_a), threads.submit(as_b)
        return answer.result(20)


def during_the_answer(app: Flask) -> Seen:
    """B's choice falls into the answering of A's question, after the model has computed."""
    a, b = app.test_client(), app.test_client()
    gate: Gate = app.config["GATE"]
    choose(a, ONE)
    gate.opened.clear()
    gate.came.clear()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(predict, a)
        assert gate.came.wait(10)
        choose(b, TWO)
        gate.opened.set()
        return answer.result(20)


Race = Callable[[Flask], Seen]
RACES = (one_after_the_other, between_choice_and_question, during_the_answer)


@pytest.mark.parametrize("race", RACES[:2])
def test_with_a_global_a_caller_is_answered_by_the_model_that_another_chose(
    global_app: Flask, race: Race
) -> None:
    assert race(global_app) == alone(TWO)


def test_with_two_globals_a_choice_during_an_answer_gives_one_models_answer_the_others_name(
    global_app: Flask,
) -> None:
    assert during_the_answer(global_app) == alone(ONE)._replace(model=TWO)


def test_with_two_globals_a_question_during_a_choice_has_the_new_answer_under_the_old_name(
    global_app: Flask,
) -> None:
    between = Gate()
    global_app.config["KEPT"].between = between.pass_through
    a, b = global_app.test_client(), global_app.test_client()
    with ThreadPoolExecutor(1) as thread:
        choice = thread.submit(choose, b, TWO)
        assert between.came.wait(10)
        answer = predict(a)
        between.opened.set()
        choice.result(10)
    assert answer == alone(TWO)._replace(model=ONE)


@pytest.mark.parametrize("race", RACES)
def test_in_v2_the_same_calls_give_every_caller_the_model_of_their_choice(
    race: Race, v2_app: Flask
) -> None:
    assert race(v2_app) == alone(ONE)


def everybody(app: Flask) -> set[Seen]:
    """Return what many callers at once are answered, each on a thread of its own."""
    with ThreadPoolExecutor(CALLERS) as threads:
        return set(threads.map(lambda _: predict(app.test_client()), range(CALLERS)))


def test_a_global_that_nobody_writes_after_the_start_is_harmless(global_app: Flask) -> None:
    assert everybody(global_app) == {alone(ONE)}


def test_in_v1_there_is_no_call_that_could_write_it(gate: Gate) -> None:
    fixed = one_model_app(SETTINGS, PoolStandIn({ONE: models(gate)[ONE]}))
    assert [rule for rule in fixed.url_map.iter_rules() if "PUT" in (rule.methods or ())] == []
    assert fixed.test_client().put(f"/model/{TWO}").status_code == 404
    assert everybody(fixed) == {alone(ONE)}
