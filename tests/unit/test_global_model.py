"""One model in a global: harmless in v1, where nobody writes it; wrong in v2, where callers do.

The original's way (``original``, below) and ours go through the very same calls. Nothing is left
to chance: a gate says when an answer goes on, so that the race is lost every time.
"""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from imgserve.backend.app import make_app
from imgserve.models.classifier import Classifier, Crop
from imgserve.settings import BackendSettings
from tests.unit import pictures
from tests.unit.pool_stand_in import Gate, PoolStandIn, classifier, named_after_itself

ONE, TWO = "one", "two"
SETTINGS = BackendSettings(threads=2, secret_key="k")
Models = dict[str, Classifier]
# What a caller sees: a model's name, and the name that the model itself sees.
Seen = tuple[str, str]


def original(models: Models) -> Flask:
    """Return a backend that keeps the chosen model in two globals, as v2's original did."""
    app = Flask("original")
    kept: dict[str, Any] = {"model": models[ONE], "name": ONE}

    @app.put("/model/<model_id>")
    def choose(model_id: str) -> dict[str, str]:
        kept.update(model=models[model_id], name=model_id)
        return {"model": kept["name"]}

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        probabilities = kept["model"].engine(np.zeros((1, 1, 1, 3), np.uint8))[0]
        return {"model": kept["name"], "category": [ONE, TWO][probabilities.argmax()]}

    return app


def v2(models: Models) -> Flask:
    return make_app(SETTINGS, PoolStandIn(models), has_choice=True)


def predict(caller: FlaskClient) -> Seen:
    """Return what a caller is answered who names no model."""
    picture = io.BytesIO(pictures.path("coffee.png").read_bytes())
    answer = caller.post("/predict", data={"image": (picture, "coffee.png")}).get_json()
    return answer["model"], answer["category"]


def choose(caller: FlaskClient, model: str) -> None:
    assert caller.put(f"/model/{model}").get_json()["model"] == model


@pytest.mark.parametrize(
    ("make", "after_the_other", "during_the_answer"),
    [
        pytest.param(original, (TWO, TWO), (TWO, ONE), id="globals: the other's model, or name"),
        pytest.param(v2, (ONE, ONE), (ONE, ONE), id="v2: one's own"),
    ],
)
def test_a_choice_in_a_global_reaches_other_callers_and_one_in_v2_does_not(
    make: Callable[[Models], Flask], after_the_other: Seen, during_the_answer: Seen
) -> None:
    gate = Gate()

    def one(_: Crop) -> np.ndarray:
        """See its own name, and wait at the gate once that is computed."""
        gate.pass_through()
        return np.array([[1.0, 0.0]])

    app = make({**named_after_itself(ONE, TWO), ONE: classifier([ONE, TWO], one)})
    a, b = app.test_client(), app.test_client()
    choose(a, ONE)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(predict, a)
        assert gate.came.wait(10)
        choose(b, TWO)
        gate.opened.set()
        assert answer.result(20) == during_the_answer
    assert predict(a) == after_the_other


def test_in_v1_there_is_no_call_that_could_write_it() -> None:
    fixed = make_app(SETTINGS, PoolStandIn(named_after_itself(ONE)))
    assert predict(fixed.test_client()) == (ONE, ONE)
    assert [rule for rule in fixed.url_map.iter_rules() if "PUT" in (rule.methods or ())] == []
    assert fixed.test_client().put(f"/model/{TWO}").status_code == 404
