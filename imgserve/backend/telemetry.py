"""Count, time and log requests; give each an id and its caller's trace."""

import logging
import re
import secrets
from time import perf_counter

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from imgserve.backend.admission import Admission
from imgserve.contract import REQUEST_ID_HEADER, PredictAnswer, Timings
from imgserve.errors import InternalError
from imgserve.log import TRACE_FIELDS, trace_fields
from imgserve.models.pool import WorkerPool

log = logging.getLogger(__name__)

# Any other word may come in as a method, and each would be a series of its own for ever.
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
GIVEN_ID = re.compile(r"[\w.-]{1,64}")

# From a small model's inference to a slow host's picture, seconds.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, saying when it began


class Metrics:
    """The metrics of one application, in a registry of their own; gauges ask when they are read."""

    def __init__(self, admission: Admission, pool: WorkerPool) -> None:
        self._registry = kept = CollectorRegistry()
        ProcessCollector(registry=kept)
        by_answer, by_model = ("method", "route", "status"), ("model", "precision")
        time_spent = "Time a prediction spent in each stage."
        self.requests = Counter("imgserve_requests", "Answered.", by_answer, registry=kept)
        self.errors = Counter("imgserve_errors", "By problem type.", ("type",), registry=kept)
        self._predictions = Counter(
            "imgserve_predictions", "Pictures classified.", by_model, registry=kept
        )
        self._stages = Histogram(
            "imgserve_stage_seconds", time_spent, ("stage",), buckets=BUCKETS_S, registry=kept
        )
        waiting = Gauge("imgserve_queue_requests", "Requests waiting.", registry=kept)
        waiting.set_function(lambda: admission.inside - pool.computing)
        computing = Gauge("imgserve_inferences_in_progress", "Requests computing.", registry=kept)
        computing.set_function(lambda: pool.computing)

    def predicted(self, answer: PredictAnswer) -> None:
        self._predictions.labels(answer.model, answer.precision).inc()
        for stage in Timings.__struct_fields__:
            self._stages.labels(stage).observe(getattr(answer.timings_ms, stage) / 1000)

    def page(self) -> Response:
        return Response(generate_latest(self._registry), content_type=CONTENT_TYPE_LATEST)


def observe(app: Flask, metrics: Metrics, project: str) -> None:
    """Make an application identify, count and log its requests, with traces of this project."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(16)
        g.started = perf_counter()
        traceparent = request.headers.get("traceparent", "")
        cloud_trace = request.headers.get("X-Cloud-Trace-Context", "")
        TRACE_FIELDS.set(trace_fields(traceparent, cloud_trace, project))

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = g.request_id
        route = request.url_rule.rule if request.url_rule else "unknown"
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(method, route, response.status_code).inc()
        _log_request(response, perf_counter() - g.started)
        return response


def _log_request(response: Response, latency_s: float) -> None:
    # Only 500 is a fault of ours: the other 5xx are a slow host, a full queue, a model to come.
    level = logging.ERROR if response.status_code == InternalError.status else logging.INFO
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
