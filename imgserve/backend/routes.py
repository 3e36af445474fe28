"""The routes of all backends, of which each version has its own."""

import logging
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request, session
from flask_swagger_ui import get_swaggerui_blueprint

from imgserve.backend.admission import Admission
from imgserve.backend.openapi import Operation, document
from imgserve.backend.problems import answer_problems
from imgserve.backend.request import PictureRequest, parse_request
from imgserve.backend.telemetry import Metrics, observe
from imgserve.contract import (
    DOCS,
    HELLO,
    METRICS,
    MODEL,
    MODEL_OPTION,
    MODEL_PREDICT,
    MODELS,
    OPENAPI,
    PREDICT,
    READY,
    REQUEST_ID_HEADER,
    Choice,
    ChoosingRequest,
    ModelState,
    PredictAnswer,
    PredictRequest,
    Ready,
    Timings,
)
from imgserve.errors import InvalidRequest, ModelUnavailable, NotReady, UnknownModel
from imgserve.models.compiled_model import facts
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Result
from imgserve.pictures.fetch import Fetcher
from imgserve.settings import BackendSettings
from imgserve.units import MIB

log = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Response])

COOKIE = "imgserve"
CHOICE = "model"  # its name in the caller's own cookie
# A first choice comes without a cookie, too: nothing tells a client that will keep this one.
HOW_TO_USE = (
    "this choice is in the cookie that came with this answer: send it with your predictions, "
    f"or name the model in them: POST {PREDICT}?model={{model}} or POST {MODEL_PREDICT}"
)


class Backend:
    """An application that tells its state and describes itself, and what its routes share."""

    def __init__(
        self, settings: BackendSettings, pool: WorkerPool, *, has_choice: bool, by_path: bool
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.operations: list[Operation] = []
        self.admission = Admission(
            settings.threads + settings.max_queue,
            settings.picture_memory_mb * MIB,
            settings.max_image_bytes,
        )
        self.metrics = Metrics(self.admission, pool)
        self.fetcher = Fetcher(settings)
        self.app = self._flask()
        add_state(self)
        add_docs(self)
        if has_choice or by_path:
            add_models(self)
        add_predictions(self, has_choice=has_choice, by_path=by_path)

    def _flask(self) -> Flask:
        app = Flask("imgserve", static_folder=None)
        app.extensions["admission"] = self.admission  # by which the server limits bodies
        app.request_class = PictureRequest
        # No redirects: /docs is answered as /docs/, and /docs//x is no address of another host.
        app.url_map.strict_slashes = app.url_map.merge_slashes = False
        observe(app, self.metrics, self.settings.google_cloud_project)
        answer_problems(app, self.metrics)
        if self.settings.cors_origins:
            from flask_cors import CORS  # here: few need it, all would wait for its import

            CORS(app, origins=[*self.settings.cors_origins], expose_headers=[REQUEST_ID_HEADER])
        return app

    def route(self, method: str, path: str, *described: Any) -> Callable[[View], View]:
        """Return a decorator that adds a view and describes it: see ``Operation``."""

        def add(view: View) -> View:
            rule = path.replace("{", "<").replace("}", ">")
            self.app.add_url_rule(rule, view.__name__, view, methods=[method])
            self.operations.append(Operation(method, path, view.__doc__ or "", *described))
            return view

        return add

    def predict(
        self, kind: type[PredictRequest], choose: Callable[[PredictRequest], str]
    ) -> Response:
        """Answer the request at hand, of this kind, with the model that is chosen for it."""
        with self.admission.admitted() as held:
            options, data = parse_request(request, kind, self.settings.max_image_bytes)
            model_id = choose(options)
            self._check(options, model_id)
            began, fetch_ms = perf_counter(), 0.0
            if isinstance(data, str):
                data = self.fetcher.fetch(data, held.require)
                fetch_ms = _ms_since(began)
            result = self.pool.classify(model_id, data, options)
            answer = _answer(model_id, result, fetch_ms, _ms_since(began))
        self.metrics.predicted(answer)
        return json_answer(answer)

    def _check(self, options: PredictRequest, model_id: str) -> None:
        """Refuse what this model cannot answer, before a picture is fetched for it."""
        self.pool.require(model_id)
        classes, top_k = self.pool.classes(model_id), options.top_k
        if classes and top_k and top_k > classes:
            raise InvalidRequest(f"top_k={top_k} cannot be used: {model_id} has {classes} classes")
        if options.explain and self.settings.explain == "0":
            raise InvalidRequest("this service does not explain (EXPLAIN=0): ask without it")


def _answer(model_id: str, result: Result, fetch_ms: float, total_ms: float) -> PredictAnswer:
    stages = result.decode_ms, result.preprocess_ms, result.inference_ms
    return PredictAnswer(
        category=result.predictions[0].category,
        model=model_id,
        predictions=result.predictions,
        timings_ms=Timings(fetch_ms, *stages, total_ms),
        thumbnail=result.thumbnail,
        incomplete=result.incomplete,
        precision=result.precision,
        explanation=result.explanation,
    )


def _ms_since(began: float) -> float:
    return round((perf_counter() - began) * 1000, 3)


def json_answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")


def add_state(backend: Backend) -> None:
    @backend.route("GET", HELLO, "Alive; says nothing about the model.")
    def hello() -> Response:
        """Say hello."""
        return json_answer("Hello!")

    @backend.route("GET", METRICS, "Metrics in Prometheus' text format.")
    def show_metrics() -> Response:
        """Show what was counted."""
        return backend.metrics.page()

    @backend.route("GET", READY, Ready, (NotReady, ModelUnavailable))
    def ready() -> Response:
        """Say whether a prediction can be made now."""
        model = backend.pool.ready_id()
        _, _, precision = backend.pool.state(model)
        return json_answer(Ready(model, precision=precision))


def add_docs(backend: Backend) -> None:
    @backend.route("GET", OPENAPI, "This document.")
    def openapi() -> Response:
        """Describe the API."""
        counts = [backend.pool.classes(model_id) for model_id in backend.pool.ids]
        most_classes = None if None in counts else max(filter(None, counts))
        return json_answer(document(backend.operations, most_classes))

    page = get_swaggerui_blueprint(DOCS, OPENAPI, config={"app_name": "imgserve"})
    backend.app.register_blueprint(page)


def add_models(backend: Backend) -> None:
    pool, settings = backend.pool, backend.settings
    choice = "The models to choose from, as a JSON list of ids, the default first."

    @backend.route("GET", MODELS, choice)
    def models() -> Response:
        """List the models."""
        # In v3 a container has one model, and MODELS names those behind the gateway.
        return json_answer(pool.ids if len(pool.ids) > 1 else settings.models or pool.ids)

    @backend.route("GET", MODEL, ModelState, (UnknownModel,))
    def describe(model: str) -> Response:
        """Say what a model is and whether it is loaded."""
        state, failure, precision = pool.state(model)
        known = facts(settings, model)
        told = msgspec.structs.replace(known, state=state, detail=failure, precision=precision)
        return json_answer(told)


def add_choice(backend: Backend) -> Callable[[PredictRequest], str]:
    """Add the choice of a model, kept in the caller's own signed cookie; return who is chosen.

    What a body names goes before the choice, and the choice before the default.
    """
    pool = backend.pool
    if not backend.settings.secret_key:
        log.warning("SECRET_KEY is not set: choices will not outlive or cross instances")
    backend.app.secret_key = backend.settings.secret_key or secrets.token_hex()
    backend.app.config.update(SESSION_COOKIE_NAME=COOKIE, SESSION_COOKIE_SAMESITE="Lax")

    @backend.route("PUT", MODEL, Choice, (UnknownModel,))
    def choose(model: str) -> Response:
        """Keep the caller's choice in a cookie of their own, and begin to load the model."""
        pool.warm(model)
        session[CHOICE] = model
        keeps_cookies = COOKIE in request.cookies
        return json_answer(Choice(model, None if keeps_cookies else HOW_TO_USE.format(model=model)))

    def chosen(options: PredictRequest) -> str:
        kept = session.get(CHOICE)
        named = getattr(options, MODEL_OPTION, None)
        return named or (kept if kept in pool.ids else pool.ids[0])

    return chosen


def add_predictions(backend: Backend, *, has_choice: bool, by_path: bool) -> None:
    """Add what predicts: with the one model, or with the one that a caller or a path names."""
    pool, kind = backend.pool, ChoosingRequest if has_choice else PredictRequest
    unknown = (UnknownModel,) if has_choice or by_path else ()
    chosen = add_choice(backend) if has_choice else lambda _: pool.ids[0]

    def predict() -> Response:
        """Say what is on a picture."""
        return backend.predict(kind, chosen)

    def predict_with(model: str) -> Response:
        """Say what is on a picture, with this model."""
        pool.require(model)
        return backend.predict(kind, lambda _: model)

    if not by_path:
        backend.route("POST", PREDICT, PredictAnswer, unknown, kind)(predict)
    if has_choice or by_path:
        backend.route("POST", MODEL_PREDICT, PredictAnswer, unknown, kind)(predict_with)
