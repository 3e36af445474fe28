"""What a response means: an answer of the contract, or one of the frontend's errors."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
import requests
from urllib3.exceptions import ReadTimeoutError

from imgserve import contract
from imgserve.errors import (
    BackendBusy,
    BackendError,
    BackendNotReady,
    BackendTimeout,
    BackendUnreachable,
    RequestRefused,
)

T = TypeVar("T")


def decoded(response: requests.Response, answer: type[T]) -> T:
    """Return the body as the type the contract promises.

    Raises:
        BackendError: it is a problem document.
        requests.HTTPError: it has a status that no backend gives without one.
        msgspec.MsgspecError: it is something else.
    """
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type == contract.PROBLEM_TYPE:
        raise _problem(response)
    if response.status_code != requests.codes.ok:
        raise requests.HTTPError(response=response)
    return msgspec.json.decode(response.content, type=answer)


def translated(error: Exception, base_url: str) -> BackendError:
    """Return the error that says to a frontend what went wrong on the way to the backend."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return BackendUnreachable(f"{base_url} answered {status} and not as this service does")
    if isinstance(error, msgspec.MsgspecError):
        return BackendUnreachable(f"{base_url} answered something this page cannot read")
    if isinstance(error, requests.ReadTimeout) or _timed_out_in_body(error):
        return BackendTimeout(f"{base_url} took too long to answer")
    return BackendUnreachable(f"{base_url} cannot be reached")


def _problem(response: requests.Response) -> BackendError:
    """Return the error that a problem document stands for."""
    problem = msgspec.json.decode(response.content, type=contract.Problem)
    slug = problem.type.rpartition(":")[2]
    unavailable: Mapping[str, type[BackendError]] = {
        "not-ready": BackendNotReady,
        "busy": BackendBusy,
    }
    if slug in unavailable:
        return unavailable[slug](problem.detail)
    return RequestRefused(problem.detail, slug, response.status_code)


def _timed_out_in_body(error: Exception) -> bool:
    """Return whether the answer began and then stopped: requests calls that a ConnectionError."""
    return bool(error.args) and isinstance(error.args[0], ReadTimeoutError)
