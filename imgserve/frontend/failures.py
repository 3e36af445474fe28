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
    CallerNotAllowed,
    RequestRefused,
)

T = TypeVar("T")

# Cloud Run's own answers to a caller without a valid token, or whose account may not call.
NOT_ALLOWED_STATUSES = frozenset({401, 403})


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
        return _of_platform(error.response, base_url)
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


def _of_platform(response: requests.Response, base_url: str) -> BackendError:
    """Return the error that an answer from what stands before the backend means."""
    answered = f"{base_url} answered {response.status_code}"
    if response.status_code not in NOT_ALLOWED_STATUSES:
        return BackendUnreachable(f"{answered} and not as this service does")
    if "Authorization" in response.request.headers:
        next_step = (
            "grant this frontend's service account roles/run.invoker on it, "
            "and name it by the address that Cloud Run gave it"
        )
    else:
        next_step = "where it is not public, set SERVING_AUTH=id-token"
    return CallerNotAllowed(f"{answered}, it does not let this frontend call it: {next_step}")


def _timed_out_in_body(error: Exception) -> bool:
    """Return whether the answer began and then stopped: requests calls that a ConnectionError."""
    return bool(error.args) and isinstance(error.args[0], ReadTimeoutError)
