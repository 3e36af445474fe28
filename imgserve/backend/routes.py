"""The routes of all backends: each version takes those it has (``app.py``)."""

import logging
import secrets
from collections.abc import Callable
from time import perf_counter

import msgspec
from flask import Flask, Response, request, session

from imgserve.backend.admission import Admission
from imgserve.backend.openapi import PREDICT_PROBLEMS, add_docs, documented, prediction_body, rule
from imgserve.backend.problems import answer_problems
from imgserve.backend.request import (
    CHOSEN_MODEL,
    FIXED_MODEL,
    PictureRequest,
    PredictionRequest,
    RequestTypes,
    parse_request,
)
from imgserve.backend.telemetry import Metrics, observe
from imgserve.contract import (
    FORM_OVERHEAD_BYTES,
    HELLO,
    METRICS,
    MODEL,
    MODEL_PREDICT,
    MODELS,
    PREDICT,
    READY,
    REQUEST_ID_HEADER,
    Choice,
    ModelState,
    PredictAnswer,
    Ready,
    State,
    Timings,
)
from imgserve.errors import InvalidRequest, ModelUnavailable, NotReady, UnknownModel
from imgserve.models.loading import facts
from imgserve.models.pool import WorkerPool
from imgserve.models.worker import Result
from imgserve.pictures.fetch import Fetcher
from imgserve.settings import BackendSettings
from imgserve.units import MIB

log = logging.getLogger(__name__)

COOKIE = "imgserve"
CHOICE = "model"  # its name in the caller's own cookie
# A first choice comes without a cookie, too: nothing tells a client that will keep this one.
HOW_TO_USE = (
    "this choice is in the cookie that came with this answer: send it with your predictions, "
    f"or name the model in them: POST {PREDICT}?model={{model}} or POST {MODEL_PREDICT}"
)


class Backend:
    """An application that says hello, counts and describes itself, and what its routes share."""

    def __init__(self, settings: BackendSettings, pool: WorkerPool) -> None:
        self.settings = settings
        self.pool = pool
        limit_bytes = settings.max_image_bytes + FORM_OVERHEAD_BYTES  # of a request
        self.admission = Admission(
            settings.threads + settings.max_queue,
            max(settings.picture_memory_mb * MIB, limit_bytes),
        )
        self.metrics = Metrics()
        self.fetcher = _fetcher(settings)
        self.metrics.watch(
            waiting=lambda: self.admission.inside - pool.computing,
            computing=lambda: pool.computing,
        )
        self.app = Flask("imgserve", static_folder=None)
        self.app.extensions["admission"] = self.admission  # the server counts bodies by it
        self.app.request_class = PictureRequest
        # No redirects: /docs is answered as /docs/, and /docs//x is no address of another host.
        self.app.url_map.strict_slashes = self.app.url_map.merge_slashes = False
        self.app.config["MAX_CONTENT_LENGTH"] = limit_bytes
        observe(self.app, self.metrics, settings.google_cloud_project)
        answer_problems(self.app, self.metrics, settings.max_image_bytes)
        add_hello(self)
        add_docs(self.app, self._most_classes)
        allow_origins(self.app, settings.cors_origins)

    def _require_classes(self, model_id: str, top_k: int) -> None:
        classes = self.pool.classes(model_id)
        if classes and top_k > classes:
            raise InvalidRequest(f"top_k={top_k} cannot be used: {model_id} has {classes} classes")

    def _most_classes(self) -> int | None:
        """Return how many classes the model has that has most, where that is known of all."""
        counts = [self.pool.classes(model_id) for model_id in self.pool.ids]
        return None if None in counts else max(filter(None, counts))

    def predict(self, types: RequestTypes, choose: Callable[[PredictionRequest], str]) -> Response:
        """Answer the request at hand.

        Args:
            types: what the route takes.
            choose: returns the id of the model to predict with.

        Raises:
            HttpError: of any kind but the routes' own.
        """
        with self.admission.admitted() as held:
            wanted = parse_request(request, types, self.settings.max_image_bytes)
            model_id = choose(wanted)
            self.pool.require(model_id)
            self._require_classes(model_id, wanted.options.top_k or 1)
            if wanted.options.explain and self.settings.explain == "0":
                raise InvalidRequest("this service does not explain (EXPLAIN=0): ask without it")
            began = perf_counter()
            data = (
                wanted.data if wanted.url is None else self.fetcher.fetch(wanted.url, held.require)
            )
            fetch_ms = 0.0 if wanted.url is None else _ms_since(began)
            result = self.pool.classify(model_id, data, wanted.options)
            answer = _answer(model_id, result, fetch_ms, _ms_since(began))
        self.metrics.predicted(answer)
        return json_answer(answer)


def _fetcher(settings: BackendSettings) -> Fetcher:
    return Fetcher(
        limit_bytes=settings.max_image_bytes,
        timeout_s=settings.fetch_timeout_s,
        allowed_addresses=settings.allowed_addresses,
        contact=settings.fetch_contact,
        certificates=settings.ssl_cert_file,
    )


def _answer(model_id: str, result: Result, fetch_ms: float, total_ms: float) -> PredictAnswer:
    timings = Timings(
        fetch=fetch_ms,
        decode=result.decode_ms,
        preprocess=result.preprocess_ms,
        inference=result.inference_ms,
        total=total_ms,
    )
    return PredictAnswer(
        category=result.predictions[0].category,
        model=model_id,
        predictions=result.predictions,
        timings_ms=timings,
        thumbnail=result.thumbnail,
        incomplete=result.incomplete,
        precision=result.precision,
        explanation=result.explanation,
    )


def _ms_since(began: float) -> float:
    return round((perf_counter() - began) * 1000, 3)


def json_answer(value: object) -> Response:
    """Return a value of the contract as an answer."""
    return Response(msgspec.json.encode(value), content_type="application/json")


def allow_origins(app: Flask, origins: tuple[str, ...]) -> None:
    """Let pages of other web origins call the application."""
    if origins:
        from flask_cors import CORS  # here: few backends need it, all would wait for its import

        CORS(app, origins=list(origins), expose_headers=[REQUEST_ID_HEADER])


def add_hello(backend: Backend) -> None:
    """Add what every backend answers, whatever its model does."""

    @backend.app.get(HELLO)
    @documented({200: "Alive; says nothing about the model."})
    def hello() -> Response:
        """Say hello."""
        return json_answer("Hello!")

    @backend.app.get(METRICS)
    @documented({200: "Metrics in Prometheus' text format."})
    def show_metrics() -> Response:
        """Show what was counted."""
        return backend.metrics.page()


def add_ready(backend: Backend) -> None:
    """Add what a platform asks before it sends requests."""

    @backend.app.get(READY)
    @documented({200: Ready}, (NotReady, ModelUnavailable))
    def ready() -> Response:
        """Say whether a prediction can be made now."""
        model = backend.pool.ready_id()
        _, _, precision = backend.pool.state(model)
        return json_answer(Ready(model, precision=precision))


def add_models(backend: Backend) -> None:
    """Add the list of models, and what each of them is."""
    pool, settings = backend.pool, backend.settings

    @backend.app.get(MODELS)
    @documented({200: "The models to choose from, as a JSON list of ids, the default first."})
    def models() -> Response:
        """List the models."""
        # In v3 a container has one model, and MODELS names those behind the gateway.
        return json_answer(pool.ids if len(pool.ids) > 1 else settings.models or pool.ids)

    @backend.app.get(rule(MODEL))
    @documented({200: ModelState}, (UnknownModel,))
    def describe(model: str) -> Response:
        """Say what a model is and whether it is loaded."""
        return json_answer(_described(settings, model, *pool.state(model)))


def _described(
    settings: BackendSettings, model_id: str, state: State, failure: str | None, precision: str
) -> ModelState:
    known = facts(settings, model_id)._asdict()
    return ModelState(id=model_id, **known, state=state, detail=failure, precision=precision)


def add_choice(backend: Backend) -> None:
    """Add the choice of a model, kept in the caller's own signed cookie."""
    backend.app.secret_key = backend.settings.secret_key or _random_key()
    backend.app.config.update(SESSION_COOKIE_NAME=COOKIE, SESSION_COOKIE_SAMESITE="Lax")

    @backend.app.put(rule(MODEL))
    @documented({200: Choice}, (UnknownModel,))
    def choose(model: str) -> Response:
        """Keep the caller's choice in a cookie of their own, and begin to load the model."""
        backend.pool.warm(model)
        session[CHOICE] = model
        keeps_cookies = COOKIE in request.cookies
        return json_answer(Choice(model, None if keeps_cookies else HOW_TO_USE.format(model=model)))


def _random_key() -> str:
    log.warning("SECRET_KEY is not set: choices will not outlive or cross instances")
    return secrets.token_hex()


def add_predict(backend: Backend) -> None:
    """Add the prediction with the one model."""

    @backend.app.post(PREDICT)
    @documented({200: PredictAnswer}, PREDICT_PROBLEMS, **prediction_body(FIXED_MODEL))
    def predict() -> Response:
        """Say what is on a picture."""
        return backend.predict(FIXED_MODEL, lambda _: backend.pool.ids[0])


def add_predict_by_choice(backend: Backend) -> None:
    """Add the prediction with the model that the body names, else the cookie, else the default."""
    pool = backend.pool

    def chosen(wanted: PredictionRequest) -> str:
        kept = session.get(CHOICE)
        return wanted.model or (kept if kept in pool.ids else pool.ids[0])

    @backend.app.post(PREDICT)
    @documented(
        {200: PredictAnswer}, (*PREDICT_PROBLEMS, UnknownModel), **prediction_body(CHOSEN_MODEL)
    )
    def predict() -> Response:
        """Say what is on a picture."""
        return backend.predict(CHOSEN_MODEL, chosen)

    add_predict_by_path(backend, CHOSEN_MODEL)


def add_predict_by_path(backend: Backend, types: RequestTypes = FIXED_MODEL) -> None:
    """Add the prediction with the model that the path names."""

    @backend.app.post(rule(MODEL_PREDICT))
    @documented({200: PredictAnswer}, (*PREDICT_PROBLEMS, UnknownModel), **prediction_body(types))
    def predict_with(model: str) -> Response:
        """Say what is on a picture, with this model."""
        backend.pool.require(model)
        return backend.predict(types, lambda _: model)
