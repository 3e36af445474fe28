"""One model in a global: harmless in v1, where nobody writes it; wrong in v2, where callers do.

The original's way (``original``, below) and ours go through the very same calls. Nothing is left
to chance: a gate says when an answer goes on, so that the race is lost every time.
"""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from tests.unit.pool_stand_in import Gate, PoolStandIn, classifier, named_after_itself

ONE, TWO = "one", "two"
SETTINGS = BackendSettings(threads=2, secret_key="k")
CALLERS = 8


class Seen(NamedTuple):
    """What a caller sees of an answer: a model's name, and the name that the model itself sees."""

    model: str
    category: str


def models(gate: Gate) -> dict[str, Classifier]:
    """Return two models that see their own name; the first waits at the gate once it computed."""

    def one(_: Crop) -> np.ndarray:
        gate.pass_through()
        return np.array([[1.0, 0.0]])

    return {**named_after_itself(ONE, TWO), ONE: classifier([ONE, TWO], one)}


def original(gate: Gate) -> Flask:
    """Return a backend that keeps the chosen model in two globals, as v2's original did."""
    app, there = Flask("original"), models(gate)
    kept: dict[str, Any] = {"model": there[ONE], "name": ONE}

    @app.put("/model/<model_id>")
    def choose(model_id: str) -> dict[str, str]:
        kept.update(model=there[model_id], name=model_id)
        return {"model": kept["name"]}

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        probabilities = kept["model"].probabilities(pictures.picture("coffee.png"))
        return {"model": kept["name"], "category": [ONE, TWO][probabilities.argmax()]}

    return app


def v1(gate: Gate) -> Flask:
    return one_model_app(SETTINGS, PoolStandIn({ONE: models(gate)[ONE]}))


def v2(gate: Gate) -> Flask:
    return many_models_app(SETTINGS, PoolStandIn(models(gate)))


def predict(caller: FlaskClient) -> Seen:
    """Return what a caller is answered who names no model."""
    picture = io.BytesIO(pictures.path("coffee.png").read_bytes())
    answer = caller.post("/predict", data={"image": (picture, "coffee.png")}).get_json()
    return Seen(answer["model"], answer["category"])


def choose(caller: FlaskClient, model: str) -> None:
    assert caller.put(f"/model/{model}").get_json()["model"] == model


def one_after_the_other(app: Flask, gate: Gate) -> Seen:
    """A chooses, B chooses otherwise, A asks: return what A is answered."""
    gate.opened.set()
    a, b = app.test_client(), app.test_client()
    choose(a, ONE)
    choose(b, TWO)
    return predict(a)


def during_the_answer(app: Flask, gate: Gate) -> Seen:
    """B's choice falls into the answering of A's question, after the model has computed."""
    a, b = app.test_client(), app.test_client()
    choose(a, ONE)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(predict, a)
        assert gate.came.wait(10)
        choose(b, TWO)
        gate.opened.set()
        return answer.result(20)


@pytest.mark.parametrize(
    ("make", "race", "seen"),
    [
        pytest.param(original, one_after_the_other, Seen(TWO, TWO), id="global-other's model"),
        pytest.param(original, during_the_answer, Seen(TWO, ONE), id="globals-other's name"),
        pytest.param(v2, one_after_the_other, Seen(ONE, ONE), id="v2-own model"),
        pytest.param(v2, during_the_answer, Seen(ONE, ONE), id="v2-own name"),
    ],
)
def test_a_choice_in_a_global_reaches_other_callers_and_one_in_v2_does_not(
    make: Callable[[Gate], Flask], race: Callable[[Flask, Gate], Seen], seen: Seen
) -> None:
    gate = Gate()
    assert race(make(gate), gate) == seen


@pytest.mark.parametrize("make", [original, v1])
def test_a_global_that_nobody_writes_after_the_start_is_harmless(
    make: Callable[[Gate], Flask],
) -> None:
    gate = Gate()
    gate.opened.set()
    app = make(gate)
    with ThreadPoolExecutor(CALLERS) as threads:
        seen = threads.map(lambda _: predict(app.test_client()), range(CALLERS))
        assert set(seen) == {Seen(ONE, ONE)}


def test_in_v1_there_is_no_call_that_could_write_it() -> None:
    fixed = v1(Gate())
    assert [rule for rule in fixed.url_map.iter_rules() if "PUT" in (rule.methods or ())] == []
    assert fixed.test_client().put(f"/model/{TWO}").status_code == 404
