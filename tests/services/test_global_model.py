"""One model in a global: harmless in v1, where nobody writes it; wrong in v2, where callers do.

The original's way (global_model_app.py) and ours go through the very same calls. Nothing here is
left to chance: events say which thread goes on when, so that each race is lost every time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

from imgserve.backend.many_models import many_models_app
from imgserve.backend.one_model import one_model_app
from imgserve.models.classifier import Classifier, Engine, Probabilities
from imgserve.models.loading import load, prepare
from imgserve.models.loading_model import LoadingModel
from imgserve.models.local import LocalModel, load_here
from imgserve.models.model import Model
from imgserve.models.pool import ModelPool
from imgserve.models.transform import Crop
from imgserve.settings import MIB, BackendSettings
from tests.services import global_model_app as original
from tests.services.conftest import MODELS
from tests.unit import pictures

ONE, TWO = MODELS[:2]
PICTURE = pictures.path("coffee.png")
WAIT_S = 30.0
CALLERS = 8


class Seen(NamedTuple):
    """What a caller sees of an answer."""

    model: str
    category: str
    probability: float


# What each model says of the picture when nobody else asks.
Alone = dict[str, Seen]


def predict(caller: FlaskClient) -> Seen:
    """Return what a caller is answered who names no model."""
    with PICTURE.open("rb") as picture:
        answer = caller.post("/predict", data={"image": (picture, PICTURE.name)})
    assert answer.status_code == 200, answer.text
    first = answer.json["predictions"][0]
    return Seen(answer.json["model"], first["category"], first["probability"])


def choose(caller: FlaskClient, model: str) -> None:
    """Choose a model."""
    assert caller.put(f"/model/{model}").json == {"model": model}


def wait(event: Event) -> None:
    """Wait for what another thread does."""
    assert event.wait(WAIT_S), "the other thread never came so far"


class Held:
    """An engine that says when it has computed, and goes on only when it may."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_held = False
        self.computed, self.may_go_on = Event(), Event()

    def __call__(self, crops: Crop) -> Probabilities:
        """Return the engine's probabilities, if held then not before it may."""
        probabilities = self._engine(crops)
        if self.is_held:
            self.computed.set()
            wait(self.may_go_on)
        return probabilities


class Server(NamedTuple):
    """A backend in this process, and the engines of the models that it has loaded."""

    app: Flask
    engines: dict[str, Held]


def holding(
    load_model: Callable[[str], Classifier], engines: dict[str, Held], model: str
) -> Classifier:
    """Return a model whose engine can be held."""
    classifier = load_model(model)
    engines[model] = Held(classifier.engine)
    return replace(classifier, engine=engines[model])


def settings(weights_dir: Path) -> BackendSettings:
    return BackendSettings(
        weights_dir=weights_dir, threads=2, secret_key="k", load_wait_s=WAIT_S, model_name=ONE
    )


@pytest.fixture(scope="module")
def alone(weights_dir: Path) -> Alone:
    """Return what each model answers in a backend that has no other."""
    return {model: predict(v1(weights_dir, model).test_client()) for model in (ONE, TWO)}


def v1(weights_dir: Path, model: str) -> Flask:
    given = settings(weights_dir)
    return one_model_app(given, LoadingModel(model, partial(load_here, given, model)))


@pytest.fixture
def global_server(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the original's way, with the first model chosen at its start."""
    engines: dict[str, Held] = {}
    monkeypatch.setitem(original.app.config, "COMPILED", weights_dir / "compiled")
    monkeypatch.setattr(original, "model_of", partial(holding, original.model_of, engines))
    monkeypatch.setattr(original, "model", original.model_of(ONE), raising=False)
    monkeypatch.setattr(original, "name", original.name_of(ONE), raising=False)
    return Server(original.app, engines)


@pytest.fixture
def v2_server(weights_dir: Path) -> Server:
    """Return v2, with room for both models."""
    given, engines = settings(weights_dir), {}

    def held(model: str) -> Model:
        return LocalModel(holding(partial(load, given), engines, model), given.max_image_pixels)

    pool = ModelPool((ONE, TWO), partial(prepare, given), held, limit_bytes=1000 * MIB)
    server = Server(many_models_app(given, pool), engines)
    for model in pool.ids:
        with pool.using(model, WAIT_S):
            pass
    return server


def one_after_the_other(server: Server) -> Seen:
    """A chooses, B chooses otherwise, A asks: return what A is answered."""
    a, b = server.app.test_client(), server.app.test_client()
    choose(a, ONE)
    choose(b, TWO)
    return predict(a)


def between_choice_and_question(server: Server) -> Seen:
    """Both at once, on two threads: B's choice falls between A's choice and A's question."""
    a_has_chosen, b_has_chosen = Event(), Event()

    def as_a() -> Seen:
        caller = server.app.test_client()
        choose(caller, ONE)
        a_has_chosen.set()
        wait(b_has_chosen)
        return predict(caller)

    def as_b() -> Seen:
        caller = server.app.test_client()
        wait(a_has_chosen)
        choose(caller, TWO)
        b_has_chosen.set()
        return predict(caller)

    with ThreadPoolExecutor(2) as threads:
        a, b = threads.submit(as_a), threads.submit(as_b)
        assert b.result().model == TWO
        return a.result()


def during_the_answer(server: Server) -> Seen:
    """B's choice falls into the answering of A's question, after the model has computed."""
    a, b = server.app.test_client(), server.app.test_client()
    choose(a, ONE)
    engine = server.engines[ONE]
    engine.is_held = True
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(predict, a)
        wait(engine.computed)
        choose(b, TWO)
        engine.may_go_on.set()
        return answer.result()


RACES = (one_after_the_other, between_choice_and_question, during_the_answer)


def test_the_two_models_answer_differently(alone: Alone) -> None:
    """Otherwise nothing here could tell one from the other."""
    assert (alone[ONE].model, alone[TWO].model) == (ONE, TWO)
    assert alone[ONE].probability != alone[TWO].probability


def test_with_a_global_a_caller_is_answered_by_the_model_that_another_chose(
    global_server: Server, alone: Alone
) -> None:
    assert one_after_the_other(global_server) == alone[TWO]


def test_with_a_global_a_choice_just_before_the_question_takes_the_answer_over(
    global_server: Server, alone: Alone
) -> None:
    assert between_choice_and_question(global_server) == alone[TWO]


def test_with_two_globals_a_choice_during_an_answer_gives_one_models_numbers_the_others_name(
    global_server: Server, alone: Alone
) -> None:
    assert during_the_answer(global_server) == alone[ONE]._replace(model=TWO)


def test_with_two_globals_a_question_during_a_choice_has_the_new_numbers_under_the_old_name(
    global_server: Server, alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_is_set, name_may_be_set = Event(), Event()

    def held(model: str, name_of: Callable[[str], str] = original.name_of) -> str:
        model_is_set.set()
        wait(name_may_be_set)
        return name_of(model)

    monkeypatch.setattr(original, "name_of", held)
    a, b = global_server.app.test_client(), global_server.app.test_client()
    with ThreadPoolExecutor(1) as thread:
        choice = thread.submit(choose, b, TWO)
        wait(model_is_set)
        answer = predict(a)
        name_may_be_set.set()
        choice.result()
    assert answer == alone[TWO]._replace(model=ONE)


@pytest.mark.parametrize("race", RACES)
def test_in_v2_the_same_calls_give_every_caller_his_own_model(
    race: Callable[[Server], Seen], v2_server: Server, alone: Alone
) -> None:
    assert race(v2_server) == alone[ONE]


def everybody(app: Flask) -> set[Seen]:
    """Return what many callers at once are answered, each on a thread of its own."""
    with ThreadPoolExecutor(CALLERS) as threads:
        return set(threads.map(lambda _: predict(app.test_client()), range(CALLERS)))


def test_a_global_that_nobody_writes_after_the_start_is_harmless(
    global_server: Server, alone: Alone
) -> None:
    before = original.model
    assert everybody(global_server.app) == {alone[ONE]}
    assert original.model is before


def test_in_v1_there_is_no_call_that_could_write_it(weights_dir: Path, alone: Alone) -> None:
    fixed = v1(weights_dir, ONE)
    writing = [rule for rule in fixed.url_map.iter_rules() if "PUT" in (rule.methods or ())]
    assert writing == []
    assert fixed.test_client().put(f"/model/{TWO}").status_code == 404
    assert everybody(fixed) == {alone[ONE]}
