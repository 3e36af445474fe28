"""Routes of a backend with many models: each request says which one it means."""

import logging
import secrets
from functools import partial

from flask import Flask, Response, session

from imgserve.backend.app import Backend, create_backend, json_answer
from imgserve.backend.model_state import model_state
from imgserve.backend.openapi import PREDICT_PROBLEMS, documented, prediction_body, rule
from imgserve.backend.prediction import Using
from imgserve.backend.request import CHOOSING, Asked
from imgserve.contract import (
    MODEL,
    MODEL_PREDICT,
    MODELS,
    PREDICT,
    READY,
    Choice,
    ModelState,
    PredictAnswer,
    Ready,
)
from imgserve.errors import ModelUnavailable, NotReady, UnknownModel
from imgserve.models.model import Model
from imgserve.models.pool import ModelPool
from imgserve.settings import BackendSettings

log = logging.getLogger(__name__)

CHOICE = "model"  # its name in the caller's own cookie
PROBLEMS = (*PREDICT_PROBLEMS, UnknownModel)


def many_models_app(settings: BackendSettings, pool: ModelPool[Model]) -> Flask:
    """Return v2: the path names the model, else the body, else the caller's cookie."""
    backend = create_backend(settings)
    backend.app.secret_key = settings.secret_key or _random_key()
    backend.app.config.update(SESSION_COOKIE_NAME="imgserve", SESSION_COOKIE_SAMESITE="Lax")
    _add_models(backend, pool)
    _add_choice(backend, pool)
    _add_predict(backend, pool)
    pool.warm(pool.ids[0])
    return backend.app


def _random_key() -> str:
    log.warning("SECRET_KEY is not set: choices will not outlive or cross instances")
    return secrets.token_hex()


def _add_models(backend: Backend, pool: ModelPool[Model]) -> None:
    @backend.app.get(READY)
    @documented({200: Ready}, (NotReady, ModelUnavailable))
    def ready() -> Response:
        """Say whether a prediction can be made now."""
        return json_answer(Ready(pool.ready_id()))

    @backend.app.get(MODELS)
    @documented({200: "The models to choose from, as a JSON list of ids, the default first."})
    def models() -> Response:
        """List the models."""
        return json_answer(pool.ids)

    @backend.app.get(rule(MODEL))
    @documented({200: ModelState}, (UnknownModel,))
    def describe(model: str) -> Response:
        """Say what a model is and whether it is loaded."""
        return json_answer(model_state(backend.settings, model, *pool.state(model)))


def _add_choice(backend: Backend, pool: ModelPool[Model]) -> None:
    @backend.app.put(rule(MODEL))
    @documented({200: Choice}, (UnknownModel,))
    def choose(model: str) -> Response:
        """Keep the caller's choice in a cookie of their own, and begin to load the model."""
        pool.warm(model)
        session[CHOICE] = model
        return json_answer(Choice(model))


def _add_predict(backend: Backend, pool: ModelPool[Model]) -> None:
    def chosen(asked: Asked) -> Using:
        kept = session.get(CHOICE)
        fallback = kept if kept in pool.ids else pool.ids[0]
        return using(asked.model or fallback)

    def using(model_id: str) -> Using:
        pool.require(model_id)
        return partial(pool.using, model_id)

    @backend.app.post(PREDICT)
    @documented({200: PredictAnswer}, PROBLEMS, **prediction_body(CHOOSING))
    def predict() -> Response:
        """Say what is on a picture."""
        return backend.predict(CHOOSING, chosen)

    @backend.app.post(rule(MODEL_PREDICT))
    @documented({200: PredictAnswer}, PROBLEMS, **prediction_body(CHOOSING))
    def predict_with(model: str) -> Response:
        """Say what is on a picture, with this model."""
        return backend.predict(CHOOSING, lambda _: using(model))
