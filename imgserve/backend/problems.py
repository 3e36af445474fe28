"""Turn every error into one ``application/problem+json`` answer."""

import logging

import msgspec
from flask import Flask, Response, g, request
from werkzeug import exceptions as werkzeug

from imgserve.backend.telemetry import Metrics
from imgserve.contract import DOCS, PROBLEM_TYPE, Problem
from imgserve.errors import HttpError, InternalError, InvalidRequest, MethodNotAllowed, UnknownRoute

log = logging.getLogger(__name__)

# Why the server refuses a request, in its environ, for the application to say so.
REFUSAL = "imgserve.refusal"


def answer_problems(app: Flask, metrics: Metrics) -> None:
    """Make an application answer each error as a problem, those of the server's included."""

    @app.before_request
    def refuse() -> None:
        if REFUSAL in request.environ:
            raise request.environ[REFUSAL]

    @app.errorhandler(Exception)
    def answer(raised: Exception) -> Response:
        error = _translated(raised)
        metrics.errors.labels(error.slug).inc()
        body = problem_json(error, g.request_id)
        response = Response(body, error.status, content_type=PROBLEM_TYPE)
        if error.retry_after_s is not None:
            response.headers["Retry-After"] = str(error.retry_after_s)
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = error.allow
        return response


def problem_json(error: HttpError, request_id: str) -> bytes:
    """Return an error as RFC 9457 words it."""
    problem = Problem(error.type_uri, error.title, error.status, str(error), request_id)
    return msgspec.json.encode(problem)


def _translated(error: Exception) -> HttpError:
    """Return our error for one of werkzeug's, or for a fault, which is logged."""
    match error:
        case HttpError():
            return error
        case werkzeug.NotFound():
            return UnknownRoute(f"there is nothing at this path: {DOCS} describes the API")
        case werkzeug.MethodNotAllowed():
            allow = ", ".join(sorted(error.valid_methods or ()))
            return MethodNotAllowed(f"this path answers {allow}: {DOCS} describes the API", allow)
        case werkzeug.HTTPException():
            return InvalidRequest(f"the request cannot be read: {error.description}")
    log.error("unforeseen error", exc_info=error)
    return InternalError("something went wrong on our side: the log has it under this request_id")
