"""The Flask application that all backends share, and the routes of those with one model."""

import io
import logging
import re
import uuid
from time import perf_counter
from typing import IO, Any

import msgspec
from flask import Flask, Request, Response, g, request

from imgserve import errors
from imgserve.contract import (
    HELLO,
    METRICS,
    PREDICT,
    READY,
    REQUEST_ID_HEADER,
    PredictAnswer,
    Ready,
)
from imgserve.errors import NotReady
from imgserve.log import TRACE_FIELDS, trace_fields
from imgserve.service.asked import asked
from imgserve.service.metrics import Metrics
from imgserve.service.openapi import PREDICT_PROBLEMS, add_docs, documented, prediction_body
from imgserve.service.prediction import GetClassifier, Predictor
from imgserve.service.problems import answer_problems
from imgserve.settings import BackendSettings

log = logging.getLogger(__name__)

GIVEN_ID = re.compile(r"[\w.-]{1,64}")
FORM_OVERHEAD_BYTES = 64 * 1024  # boundaries, headers and options around an uploaded picture


class PictureRequest(Request):
    """A request whose uploads stay in memory: they are small, and the disk may be read-only."""

    max_form_parts = 16

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


def create_app(settings: BackendSettings, get_classifier: GetClassifier) -> Flask:
    """Return a backend with one model.

    Args:
        settings: limits and addresses.
        get_classifier: returns the model, waiting at most so many seconds; raises NotReady.
    """
    app = Flask("imgserve", static_folder=None)
    app.request_class = PictureRequest
    app.config["MAX_CONTENT_LENGTH"] = settings.max_image_bytes + FORM_OVERHEAD_BYTES
    metrics = Metrics()
    predictor = Predictor(settings)
    metrics.watch(predictor.gate)
    answer_problems(app, metrics, settings.max_image_bytes)
    _observe(app, metrics, settings.google_cloud_project)
    _add_state_routes(app, metrics, get_classifier)
    _add_predict(app, metrics, predictor, settings.max_image_bytes, get_classifier)
    add_docs(app)
    _allow_origins(app, settings.cors_origins)
    return app


def json_answer(value: object) -> Response:
    """Return a value of the contract as an answer."""
    return Response(msgspec.json.encode(value), content_type="application/json")


def _add_predict(
    app: Flask,
    metrics: Metrics,
    predictor: Predictor,
    limit_bytes: int,
    get_classifier: GetClassifier,
) -> None:
    @app.post(PREDICT)
    @documented({200: PredictAnswer}, PREDICT_PROBLEMS, **prediction_body())
    def predict() -> Response:
        """Say what is on a picture."""
        answer = predictor.predict(asked(request, limit_bytes), get_classifier)
        metrics.predicted(answer.model, answer.timings_ms)
        return json_answer(answer)


def _add_state_routes(app: Flask, metrics: Metrics, get_classifier: GetClassifier) -> None:
    @app.get(HELLO)
    @documented({200: "Alive; says nothing about the model."})
    def hello() -> Response:
        """Say hello."""
        return json_answer("Hello!")

    @app.get(READY)
    @documented({200: Ready}, (NotReady,))
    def ready() -> Response:
        """Say whether a prediction can be made now."""
        return json_answer(Ready(get_classifier(0.0).model))

    @app.get(METRICS)
    @documented({200: "Metrics in Prometheus' text format."})
    def show_metrics() -> Response:
        """Show what was counted."""
        return metrics.page()


def _observe(app: Flask, metrics: Metrics, project: str) -> None:
    """Give each request an id and a trace, then count and log it."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        g.started = perf_counter()
        TRACE_FIELDS.set(trace_fields(dict(request.headers), project))

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = g.request_id
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.requests.labels(request.method, route, response.status_code).inc()
        _log_request(response, perf_counter() - g.started)
        return response


def _log_request(response: Response, latency_s: float) -> None:
    # Only 500 is a fault of ours: the other 5xx are a slow host, a full queue, a model to come.
    level = logging.ERROR if response.status_code == errors.InternalError.status else logging.INFO
    fields = {
        "httpRequest": {
            "requestMethod": request.method,
            "requestUrl": request.path,
            "status": response.status_code,
            "responseSize": str(response.content_length or 0),
            "userAgent": request.user_agent.string,
            "remoteIp": request.remote_addr,
            "latency": f"{latency_s:.6f}s",
        },
        "request_id": g.request_id,
    }
    message = f"{request.method} {request.path} {response.status_code}"
    log.log(level, message, extra={"fields": fields})


def _allow_origins(app: Flask, origins: tuple[str, ...]) -> None:
    if origins:
        from flask_cors import CORS  # here: few backends need it, all would wait for its import

        CORS(app, origins=list(origins), expose_headers=[REQUEST_ID_HEADER])
