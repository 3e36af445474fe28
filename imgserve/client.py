"""The frontend's way to a backend: every answer a type of the contract, every failure one error."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import requests
import tenacity
from urllib3.exceptions import ReadTimeoutError

from imgserve import contract
from imgserve.contract import PredictAnswer, Ready
from imgserve.errors import (
    BackendBusy,
    BackendError,
    BackendNotReady,
    BackendTimeout,
    BackendUnreachable,
    RequestRefused,
)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
# What a platform answers in the place of a container that is starting or gone; Cloud Run says 429
# or 503 while no instance is free (run docs, troubleshooting), load balancers 502 or 504.
WAKING_STATUSES = frozenset({429, 502, 503, 504})


class BackendClient:
    """One backend, at ``base_url``; give a ``session`` that carries credentials where needed.

    Every method raises a ``BackendError``, and nothing else, when it has no answer to return.
    """

    def __init__(
        self, base_url: str, *, timeout_s: float, session: requests.Session | None = None
    ) -> None:
        self.base_url = base_url
        self._timeout_s = (CONNECT_TIMEOUT_S, timeout_s)
        self._session = session or requests.Session()

    def ready(self) -> Ready:
        """Return which model is ready to predict."""
        return self._call("GET", contract.READY, Ready)

    def predict_url(self, url: str, *, top_k: int = 5, thumbnail: bool = True) -> PredictAnswer:
        """Return what the picture at ``url`` shows; the backend fetches it."""
        body = {"url": url, "top_k": top_k, "thumbnail": thumbnail}
        return self._call("POST", contract.PREDICT, PredictAnswer, json=body)

    def predict_image(
        self,
        data: bytes,
        *,
        filename: str = "picture",
        content_type: str = "application/octet-stream",
        top_k: int = 5,
        thumbnail: bool = True,
    ) -> PredictAnswer:
        """Return what the picture in ``data``, an encoded file, shows."""
        return self._call(
            "POST",
            contract.PREDICT,
            PredictAnswer,
            files={contract.IMAGE_FIELD: (filename, data, content_type)},
            data={"top_k": str(top_k), "thumbnail": str(thumbnail).lower()},
        )

    def _call(self, method: str, path: str, answer: type[T], **body: Any) -> T:
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                timeout=self._timeout_s,
                allow_redirects=False,  # following one turns a POST into a GET
                **body,
            )
            return _decoded(response, answer)
        except (requests.RequestException, msgspec.MsgspecError) as exc:
            raise _translated(exc, self.base_url) from exc


def retry_while_waking(
    call: Callable[[], T], *, timeout_s: float, on_wait: Callable[[], None]
) -> T:
    """Return what ``call`` returns, trying again while its backend may be waking up.

    Args:
        call: raises a ``BackendError`` when it has no answer.
        timeout_s: start no attempt later than this after the first.
        on_wait: called before each pause, to tell the person.

    Raises:
        BackendError: the last attempt's, or the first that waiting cannot mend.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_wake),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=3, jitter=0.5),
        stop=tenacity.stop_before_delay(timeout_s),
        before_sleep=lambda _: on_wait(),
        reraise=True,
    )
    return attempts(call)


def may_wake(error: BaseException) -> bool:
    """Return whether the backend behind this failure may answer in a while."""
    if isinstance(error, BackendUnreachable):
        cause = error.__cause__
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return cause.response.status_code in WAKING_STATUSES
        return isinstance(cause, requests.RequestException)  # refused, unknown host, cut short
    return isinstance(error, BackendNotReady)


def _decoded(response: requests.Response, answer: type[T]) -> T:
    """Return the body as the type the contract promises."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type == contract.PROBLEM_TYPE:
        raise _problem(response)
    if response.status_code != requests.codes.ok:
        raise requests.HTTPError(response=response)
    return msgspec.json.decode(response.content, type=answer)


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


def _translated(error: Exception, base_url: str) -> BackendError:
    """Return the error that says to a frontend what went wrong on the way to the backend."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return BackendUnreachable(f"{base_url} answered {status} and not as this service does")
    if isinstance(error, msgspec.MsgspecError):
        return BackendUnreachable(f"{base_url} answered something this page cannot read")
    if isinstance(error, requests.ReadTimeout) or _timed_out_in_body(error):
        return BackendTimeout(f"{base_url} took too long to answer")
    return BackendUnreachable(f"{base_url} cannot be reached")


def _timed_out_in_body(error: Exception) -> bool:
    """Return whether the answer began and then stopped: requests calls that a ConnectionError."""
    return bool(error.args) and isinstance(error.args[0], ReadTimeoutError)
