"""Routes of a backend with one model."""

from flask import Flask, Response

from imgserve.backend.app import Backend, create_backend, json_answer
from imgserve.backend.model_state import model_state
from imgserve.backend.openapi import PREDICT_PROBLEMS, documented, prediction_body, rule
from imgserve.backend.request import ONE_MODEL
from imgserve.contract import (
    MODEL,
    MODEL_PREDICT,
    MODELS,
    PREDICT,
    READY,
    ModelState,
    PredictAnswer,
    Ready,
)
from imgserve.errors import ModelUnavailable, NotReady, UnknownModel
from imgserve.models.loading_model import LoadingModel
from imgserve.models.model import Model
from imgserve.settings import BackendSettings


def one_model_app(settings: BackendSettings, model: LoadingModel[Model]) -> Flask:
    """Return v1: ``/predict`` answers with the one model."""
    backend = create_backend(settings)
    _add_ready(backend, model)

    @backend.app.post(PREDICT)
    @documented({200: PredictAnswer}, PREDICT_PROBLEMS, **prediction_body(ONE_MODEL))
    def predict() -> Response:
        """Say what is on a picture."""
        return backend.predict(ONE_MODEL, lambda _: model.using)

    return backend.app


def model_by_path_app(settings: BackendSettings, only: LoadingModel[Model]) -> Flask:
    """Return v3: as v1, but the model is named in the path, for a gateway to route by."""
    backend = create_backend(settings)
    _add_ready(backend, only)

    _add_description(backend, only)

    @backend.app.post(rule(MODEL_PREDICT))
    @documented(
        {200: PredictAnswer}, (*PREDICT_PROBLEMS, UnknownModel), **prediction_body(ONE_MODEL)
    )
    def predict(model: str) -> Response:
        """Say what is on a picture."""
        _require(model, only)
        return backend.predict(ONE_MODEL, lambda _: only.using)

    return backend.app


def _require(model_id: str, only: LoadingModel[Model]) -> None:
    if model_id != only.model:
        raise UnknownModel(f"there is no model {model_id!r} here: this backend has {only.model}")


def _add_ready(backend: Backend, model: LoadingModel[Model]) -> None:
    @backend.app.get(READY)
    @documented({200: Ready}, (NotReady, ModelUnavailable))
    def ready() -> Response:
        """Say whether a prediction can be made now."""
        loaded = model.get()
        loaded.check()
        return json_answer(Ready(loaded.model))


def _add_description(backend: Backend, only: LoadingModel[Model]) -> None:
    @backend.app.get(MODELS)
    @documented({200: "The models behind the gateway, as a JSON list of ids."})
    def models() -> Response:
        """List the models."""
        return json_answer(backend.settings.models or (only.model,))

    @backend.app.get(rule(MODEL))
    @documented({200: ModelState}, (UnknownModel,))
    def describe(model: str) -> Response:
        """Say what the model is and whether it is loaded."""
        _require(model, only)
        return json_answer(model_state(backend.settings, model, only.state, only.failure))
