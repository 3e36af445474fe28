"""What the gateway itself answers when it cannot pass a request on."""

import msgspec

from imgserve import contract
from imgserve.contract import Problem
from imgserve.errors import (
    HttpError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    PictureTooLarge,
    UnknownModel,
    UnknownRoute,
)

MODEL_ROUTES = (contract.MODEL, contract.MODEL_PREDICT)


class InvalidApiKey(HttpError, status=401, title="Invalid API key"): ...


class ModelUnreachable(
    HttpError, status=502, title="Backend unreachable", slug="backend-unreachable"
):
    """A model's backend does not answer, or not in HTTP."""


class ModelTooSlow(HttpError, status=504, title="Backend too slow", slug="backend-timeout"): ...


def problems(models: tuple[str, ...], limit_bytes: int, timeout_s: float) -> dict[str, HttpError]:
    """Return every problem by the name it has in ``nginx.conf.in``.

    A word such as ``$model`` in a message is a variable of that file.
    """
    routes = ", ".join((contract.MODELS, *(path.format(model="<id>") for path in MODEL_ROUTES)))
    return {
        "INVALID_REQUEST": InvalidRequest("the request is not HTTP that can be read: see RFC 9112"),
        "INVALID_API_KEY": InvalidApiKey(
            "the header X-API-Key is missing or wrong: ask who runs this service for a key"
        ),
        "UNKNOWN_MODEL": UnknownModel(
            f"there is no model ${{asked_model}}here: choose one of {', '.join(models)}"
        ),
        "UNKNOWN_ROUTE": UnknownRoute(f"there is nothing at this path: the gateway has {routes}"),
        "METHOD_NOT_ALLOWED": MethodNotAllowed("this path answers $allowed", allow="$allowed"),
        "PICTURE_TOO_LARGE": PictureTooLarge(
            f"the request is larger than a picture of {limit_bytes} bytes: send a smaller one"
        ),
        "INTERNAL_ERROR": InternalError(
            "something went wrong on our side: the log has it under this request_id"
        ),
        "MODEL_UNREACHABLE": ModelUnreachable(
            "the backend of $model cannot be reached: try again later, or choose another model"
        ),
        "MODEL_TOO_SLOW": ModelTooSlow(
            f"the backend of $model did not answer in time, {timeout_s:g} s at most: "
            "try again later, or choose another model"
        ),
    }


def body(error: HttpError, request_id: str) -> str:
    """Return a problem as JSON."""
    problem = Problem(error.type_uri, error.title, error.status, str(error), request_id)
    return msgspec.json.encode(problem).decode()
