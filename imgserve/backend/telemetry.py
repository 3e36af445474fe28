"""Give each request an id and a trace, then count and log it."""

import logging
import re
import secrets
from time import perf_counter

from flask import Flask, Response, g, request

from imgserve.backend.metrics import Metrics
from imgserve.contract import REQUEST_ID_HEADER
from imgserve.errors import InternalError
from imgserve.log import TRACE_FIELDS, trace_fields

log = logging.getLogger(__name__)

# Any other word may come in as a method, and each would be a series of its own for ever.
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
GIVEN_ID = re.compile(r"[\w.-]{1,64}")


def observe(app: Flask, metrics: Metrics, project: str) -> None:
    """Make an application identify, count and log its requests.

    Args:
        app: the application.
        metrics: where requests are counted.
        project: Google Cloud project id, for the trace in the log; may be empty.
    """

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
