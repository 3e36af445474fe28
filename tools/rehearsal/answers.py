"""Answers in Google's forms: errors, operations, etags and times."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, request

Json = dict[str, Any]

# Google's canonical codes, by HTTP status (google/rpc/code.proto).
STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    416: "OUT_OF_RANGE",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
}


class ApiError(Exception):
    """A request that an API refuses; answered in Google's error form."""

    def __init__(
        self, code: int, message: str, status: str = "", details: list[Json] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS_NAMES[code]
        self.details = details or []

    def answer(self) -> Response:
        """Return the error as gcloud reads it."""
        error: Json = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        answer = jsonify({"error": error})
        answer.status_code = self.code
        return answer


def not_found(message: str) -> ApiError:
    """Return the error for a thing that does not exist."""
    return ApiError(404, message)


def already_exists(message: str) -> ApiError:
    """Return the error for a thing that exists where a new one was asked for."""
    return ApiError(409, message)


def invalid(message: str) -> ApiError:
    """Return the error for a request that cannot be carried out as it is."""
    return ApiError(400, message)


def body() -> Json:
    """Return the request's JSON object; an empty one where there is none."""
    content = request.get_json(force=True, silent=True)
    return content if isinstance(content, dict) else {}


def etag(value: object) -> str:
    """Return a short base64 mark of a value, as policies carry it."""
    text = json.dumps(value, sort_keys=True)
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:6]).decode()


def now() -> str:
    """Return the time in RFC 3339 form, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def finished(name: str, response: Json, kind: str) -> Json:
    """Return a long-running operation that has ended well.

    Args:
        name: the operation's name.
        response: the thing that was made; empty after a delete.
        kind: its protobuf type, ``google.protobuf.Empty`` for none.
    """
    typed = {"@type": f"type.googleapis.com/{kind}", **response}
    return {"name": name, "done": True, "response": typed}


def _unknown() -> Response:
    where = f"{request.method} {request.host}{request.path}"
    return ApiError(501, f"The rehearsal has no such part: {where}").answer()


def answer_errors(app: Flask) -> None:
    """Make the app answer errors in Google's form; what it does not know is 501."""

    @app.errorhandler(ApiError)
    def refused(error: ApiError) -> Response:
        return error.answer()

    @app.errorhandler(404)
    @app.errorhandler(405)
    def unknown(error: Exception) -> Response:
        answer = _unknown()
        app.logger.warning("%s (%s)", answer.get_json()["error"]["message"], error)
        return answer

    @app.errorhandler(500)
    def broken(error: Exception) -> Response:
        where = f"{request.method} {request.host}{request.path}"
        return ApiError(500, f"The rehearsal failed at {where}: {error}").answer()
