"""One backend, or the gateway before several, asked by HTTP.

Every answer is a type of the contract, every failure one of the frontend's errors.
"""

import time
from collections.abc import Callable
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar, cast
from urllib.parse import quote

import msgspec
import requests
import tenacity
from urllib3.exceptions import HTTPError, ReadTimeoutError

from imgserve import contract
from imgserve.contract import ModelState, PredictAnswer, Timings
from imgserve.errors import (
    BackendBusy,
    BackendError,
    BackendNotReady,
    BackendTimeout,
    BackendUnreachable,
    CallerNotAllowed,
    RequestRefused,
    UnknownModel,
)
from imgserve.settings import ID_TOKEN, FrontendSettings

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
# What is asked about models is answered from memory, and a page is drawn only after it.
ABOUT_MODELS_TIMEOUT_S = 5.0
# Some hundred times what a backend answers.
LIMIT_ANSWER_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 65536
NO_TIMINGS = Timings(0, 0, 0, 0, 0)
# Cloud Run's own answers to a caller without a valid token, or whose account may not call.
NOT_ALLOWED_STATUSES = frozenset({401, 403})
# What a platform answers in the place of a container that is starting or gone; Cloud Run says 429
# or 503 while no instance is free (run docs, troubleshooting), load balancers 502 or 504.
WAKING_STATUSES = frozenset({429, 502, 503, 504})


class BareAnswer(msgspec.Struct):
    """What a backend of the assignment's own design answers: the class's name, and nothing else."""

    category: str


class AnswerTooLarge(requests.RequestException):
    """An answer is longer than any of a backend's."""


class BackendClient:
    """One backend, at ``base_url``; give a ``session`` that carries credentials where needed.

    Every method raises a ``BackendError``, and nothing else, when it has no answer to return.
    """

    def __init__(
        self, base_url: str, *, timeout_s: float, session: requests.Session | None = None
    ) -> None:
        self.base_url = base_url
        self._timeout_s = timeout_s
        self._session = session or requests.Session()

    def models(self) -> list[str]:
        """Return the ids of the models that can be asked, the default first."""
        return self._call("GET", contract.MODELS, list[str], limit_s=ABOUT_MODELS_TIMEOUT_S)

    def model(self, model: str) -> ModelState:
        """Return what a model is, and whether it is loaded."""
        path = _model_path(contract.MODEL, model)
        return self._call("GET", path, ModelState, limit_s=ABOUT_MODELS_TIMEOUT_S)

    def is_ready(self, model: str | None) -> bool:
        """Return whether a model, without one the backend's own, could answer at once."""
        try:
            if model:
                return self.model(model).state == "ready"
            self._call("GET", contract.READY, contract.Ready, limit_s=ABOUT_MODELS_TIMEOUT_S)
        except BackendError:
            return False
        return True

    def predict_address(self, model: str | None) -> str:
        """Return where a prediction is asked for."""
        return self.base_url + _predict_path(model)

    def predict_url(
        self,
        url: str,
        *,
        model: str | None = None,
        top_k: int | None = None,
        explain: bool = False,
    ) -> PredictAnswer:
        """Return what the picture at ``url`` shows, with a thumbnail; the backend fetches it.

        Without ``model``, the backend's own answers; without ``top_k``, with the usual five classes
        or all it has.
        """
        body: dict[str, Any] = {"url": url, "thumbnail": True}
        body |= {contract.TOP_K: top_k} if top_k else {}
        body |= {contract.EXPLAIN: True} if explain else {}
        return self._call("POST", _predict_path(model), PredictAnswer, json=body)

    def predict_image(
        self,
        data: bytes,
        *,
        content_type: str,
        model: str | None = None,
        top_k: int | None = None,
        explain: bool = False,
    ) -> PredictAnswer:
        """Return what the picture in ``data``, an encoded file, shows, with a thumbnail."""
        form = {"thumbnail": "true"}
        form |= {contract.TOP_K: str(top_k)} if top_k else {}
        form |= {contract.EXPLAIN: "true"} if explain else {}
        files = {contract.IMAGE_FIELD: ("picture", data, content_type)}
        return self._call("POST", _predict_path(model), PredictAnswer, files=files, data=form)

    def _call(
        self, method: str, path: str, answer: type[T], *, limit_s: float | None = None, **body: Any
    ) -> T:
        timeout_s = min(self._timeout_s, limit_s or self._timeout_s)
        deadline = time.monotonic() + timeout_s
        try:
            with self._session.request(
                method,
                self.base_url + path,
                timeout=(CONNECT_TIMEOUT_S, timeout_s),
                allow_redirects=False,  # following one turns a POST into a GET
                stream=True,
                **body,
            ) as response:
                return _decoded(response, _content(response, deadline), answer)
        except (requests.RequestException, HTTPError, msgspec.MsgspecError) as exc:
            raise _translated(exc, self.base_url) from exc


@cache
def connect(base_url: str, settings: FrontendSettings) -> BackendClient:
    """Return the backend at this address, which is shown who calls where the settings say so.

    Everyone who has the page open shares its connections, and nobody's cookies are kept.
    """
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    if settings.serving_auth == ID_TOKEN:
        # A page whose backend is public neither loads nor needs google-auth.
        from imgserve.frontend.identity import IdTokenAuth

        session.auth = IdTokenAuth(base_url)
    return BackendClient(base_url, timeout_s=settings.serving_timeout_s, session=session)


def retry_while_waking(
    call: Callable[[], T], *, timeout_s: float, on_wait: Callable[[], None]
) -> T:
    """Return what ``call`` returns, trying again while its backend may be waking up.

    No attempt starts later than ``timeout_s`` after the first; ``on_wait`` is called before each
    pause, to tell the person.
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
        # Refused, an unknown host, cut short; nothing that was answered in full.
        is_cut = isinstance(cause, (requests.RequestException, HTTPError))
        return is_cut and not isinstance(cause, AnswerTooLarge)
    return isinstance(error, BackendNotReady)


def _predict_path(model: str | None) -> str:
    return contract.PREDICT if model is None else _model_path(contract.MODEL_PREDICT, model)


def _model_path(path: str, model: str) -> str:
    """Return the path of this model; an id from outside stays one segment of it.

    RequestRefused where the id cannot be one, as "." and ".." mean other paths, however written.
    """
    if not model.strip("."):
        raise RequestRefused(f"there is no model {model!r}", UnknownModel.slug, UnknownModel.status)
    return path.format(model=quote(model, safe=""))


def _content(response: requests.Response, deadline: float) -> bytes:
    """Return an answer's body; requests has a time limit for each read of it, not for all."""
    pieces, size = [], 0
    while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
        size += len(piece)
        if size > LIMIT_ANSWER_BYTES:
            raise AnswerTooLarge
        if time.monotonic() > deadline:
            raise requests.ReadTimeout
        pieces.append(piece)
    return b"".join(pieces)


def _decoded(response: requests.Response, content: bytes, answer: type[T]) -> T:
    """Return the body as the type the contract promises, or raise what it is instead.

    That is a BackendError for a problem document, and requests.HTTPError for a status that no
    backend gives without one.
    """
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type == contract.PROBLEM_TYPE:
        raise _problem_error(response.status_code, content)
    if response.status_code != requests.codes.ok:
        raise requests.HTTPError(response=response)
    try:
        return msgspec.json.decode(content, type=answer)
    except msgspec.ValidationError:
        if answer is not PredictAnswer:
            raise
        bare = msgspec.json.decode(content, type=BareAnswer)
        return cast(T, PredictAnswer(bare.category, "", [], NO_TIMINGS))


def _problem_error(status: int, content: bytes) -> BackendError:
    """Return the error that a problem document stands for."""
    problem = msgspec.json.decode(content, type=contract.Problem)
    match slug := problem.type.rpartition(":")[2]:
        case "not-ready":
            return BackendNotReady(problem.detail)
        case "busy":
            return BackendBusy(problem.detail)
    return RequestRefused(problem.detail, slug, status)


def _translated(error: Exception, base_url: str) -> BackendError:
    """Return the error that says to a frontend what went wrong on the way to the backend."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _platform_error(error.response, base_url)
    if isinstance(error, AnswerTooLarge):
        return BackendUnreachable(f"{base_url} answered more than this page reads")
    if isinstance(error, msgspec.MsgspecError):
        return BackendUnreachable(f"{base_url} answered something this page cannot read")
    if isinstance(error, (requests.ReadTimeout, ReadTimeoutError)):
        return BackendTimeout(f"{base_url} took too long to answer")
    return BackendUnreachable(f"{base_url} cannot be reached")


def _platform_error(response: requests.Response, base_url: str) -> BackendError:
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
