"""The document of Google's API Gateway: OpenAPI 2.0 with its extensions.

https://docs.cloud.google.com/api-gateway/docs/oasv2-extensions and .../openapi-limitations
A path parameter cannot choose a backend, so every model has paths of its own. Types and bodies are
left to the backends' own documents: this gateway checks none, whatever is said of them.
"""

from collections.abc import Sequence
from typing import Any

import imgserve
from imgserve.contract import MODEL, MODEL_PREDICT, MODELS, PROBLEM_TYPE
from imgserve.errors import InvalidSetting
from v3.gateway.settings import Backend

JSON = "application/json"
SECURITY = {
    "securityDefinitions": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
    "security": [{"api_key": []}],
}
HEAD = {
    "swagger": "2.0",
    "info": {
        "title": "An image classifier",
        "description": "Made by `python -m v3.gateway openapi` from the list of backends.",
        "version": imgserve.__version__,
    },
    "schemes": ["https"],
    "produces": [JSON, PROBLEM_TYPE],
}


def api_document(
    backends: Sequence[Backend], deadline_s: float, *, private: bool = False, api_key: bool = False
) -> dict[str, Any]:
    """Return the document; the first backend also answers which models there are.

    A backend has ``deadline_s`` to answer. Google's default, 15 s, is less than a cold start: a
    container's start, the model's loading, then the fetching of the picture. ``private`` backends
    ask the gateway for an ID token of its service account; with ``api_key``, callers need a key.
    """
    rules = {backend.model: _rule(backend, deadline_s, private=private) for backend in backends}
    first = rules[backends[0].model]
    paths = {MODELS: {"get": _operation("list_models", "List the models", first)}}
    for model, rule in rules.items():
        state = _operation(f"describe_{model}", f"Say what {model} is", rule)
        predict = _operation(f"predict_{model}", f"Say what {model} sees on a picture", rule)
        predict["consumes"] = [JSON, "multipart/form-data", "image/*"]
        paths[MODEL.format(model=model)] = {"get": state}
        paths[MODEL_PREDICT.format(model=model)] = {"post": predict}
    return HEAD | {"paths": paths} | (SECURITY if api_key else {})


def _operation(operation_id: str, summary: str, rule: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": summary,
        "responses": {
            "200": {"description": "The backend's answer."},
            "default": {"description": "A problem (RFC 9457)."},
        },
        "x-google-backend": rule,
    }


def _rule(backend: Backend, deadline_s: float, *, private: bool) -> dict[str, Any]:
    """Return how a backend is called, or InvalidSetting where Google cannot call it.

    Without ``jwt_audience`` or ``disable_auth``, Google sends a token for ``address`` in the place
    of the caller's own ``Authorization``, also where nobody asks for one.
    """
    if backend.host in {"localhost", "127.0.0.1", "::1"}:
        raise InvalidSetting(
            f"{backend.model}'s backend {backend.url} is this machine, which Google cannot reach: "
            "deploy it and say its address in BACKENDS"
        )
    if private and backend.scheme != "https":
        raise InvalidSetting(
            f"{backend.model}'s backend {backend.url} is private, and a token must not travel "
            "unencrypted: use https"
        )
    return {
        "address": backend.url,
        "path_translation": "APPEND_PATH_TO_ADDRESS",
        "deadline": deadline_s,
        **({"jwt_audience": backend.url} if private else {"disable_auth": True}),
    }
