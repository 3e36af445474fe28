"""One backend, or the gateway before several, asked by HTTP."""

import json
import time
from dataclasses import dataclass
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from imgserve import contract
from imgserve.contract import ModelState, PredictAnswer, Prediction, Timings
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
LIMIT_ANSWER_BYTES = 4 * 1024 * 1024  # some hundred times what a backend answers
PIECE_BYTES = 65536
JPEG_DATA = "data:image/jpeg;base64,"
# What a platform answers in the place of a container that is starting or gone; Cloud Run says 429
# or 503 while no instance is free (run docs, troubleshooting), load balancers 502 or 504.
WAKING_STATUSES = frozenset({429, 502, 503, 504})
# What a backend says of itself and not of the request, by the problem's slug.
PASSING = {"not-ready": BackendNotReady, "busy": BackendBusy}


class BackendAnswer(PredictAnswer, frozen=True):
    """An answer; a backend of the assignment's own design names the class, and nothing else."""

    model: str = ""
    predictions: list[Prediction] = msgspec.field(default_factory=list)
    timings_ms: Timings = Timings(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Picture:
    """A picture somewhere on the web, which only the backend ever fetches; or a file's bytes."""

    url: str = ""
    data: bytes = b""
    file_name: str = ""
    sample: str = ""  # its name, where it is one of this page's own

    @property
    def is_data(self) -> bool:
        return self.url[:5].lower() == "data:"

    @property
    def name(self) -> str:
        """Return how a table calls it."""
        return self.file_name or ("data:" if self.is_data else self.url)

    @property
    def link(self) -> dict[str, str]:
        """Return what the address bar says of it; a picture itself would be too long for it."""
        if self.sample:
            return {"sample": self.sample}
        return {"url": self.url} if self.url and not self.is_data else {}


@dataclass(frozen=True)
class Answered:
    answer: PredictAnswer
    round_trip_ms: float  # how long the page waited for it

    @property
    def thumbnail(self) -> str | None:
        """Return the picture that came back, and nothing else that the field may hold.

        A browser would fetch an address, and Streamlit read a path.
        """
        thumbnail = self.answer.thumbnail
        return thumbnail if thumbnail and thumbnail.startswith(JPEG_DATA) else None


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
        return self._get(contract.MODELS, list[str])

    def model(self, model: str) -> ModelState:
        return self._get(_model_path(contract.MODEL, model), ModelState)

    def is_ready(self, model: str | None) -> bool:
        """Return whether a model, without one the backend's own, could answer at once."""
        try:
            if model:
                return self.model(model).state == "ready"
            return bool(self._get(contract.READY, contract.Ready))
        except BackendError:
            return False

    def predict_address(self, model: str | None) -> str:
        return self.base_url + (
            contract.PREDICT if model is None else _model_path(contract.MODEL_PREDICT, model)
        )

    def predict(
        self,
        picture: Picture,
        model: str | None = None,
        top_k: int | None = None,
        *,
        explain: bool = False,
    ) -> Answered:
        """Return what a picture shows, with a thumbnail.

        Without ``model``, the backend's own answers; without ``top_k``, with the usual five classes
        or all it has.
        """
        options: dict[str, Any] = {"thumbnail": True}
        options |= {contract.TOP_K: top_k} if top_k else {}
        options |= {contract.EXPLAIN: True} if explain else {}
        if picture.url:
            body = {"json": {"url": picture.url, **options}}
        else:
            file = ("picture", picture.data, "application/octet-stream")  # backends look inside
            form = {name: json.dumps(value) for name, value in options.items()}
            body = {"files": {contract.IMAGE_FIELD: file}, "data": form}
        started = time.perf_counter()
        url = self.predict_address(model)
        answer = self._call("POST", url, BackendAnswer, self._timeout_s, **body)
        return Answered(answer, (time.perf_counter() - started) * 1000)

    def _get(self, path: str, answer: type[T]) -> T:
        timeout_s = min(self._timeout_s, ABOUT_MODELS_TIMEOUT_S)
        return self._call("GET", self.base_url + path, answer, timeout_s)

    def _call(self, method: str, url: str, answer: type[T], timeout_s: float, **body: Any) -> T:
        deadline = time.monotonic() + timeout_s
        try:
            with self._session.request(
                method,
                url,
                timeout=(CONNECT_TIMEOUT_S, timeout_s),
                allow_redirects=False,  # following one turns a POST into a GET
                stream=True,
                **body,
            ) as response:
                return self._decoded(response, self._content(response, deadline), answer)
        except msgspec.MsgspecError as exc:
            unread = f"{self.base_url} answered something this page cannot read"
            raise BackendUnreachable(unread) from exc
        except (requests.ReadTimeout, ReadTimeoutError) as exc:
            raise BackendTimeout(f"{self.base_url} took too long to answer") from exc
        except (requests.RequestException, HTTPError) as exc:  # refused, unknown, cut short
            raise BackendUnreachable(f"{self.base_url} cannot be reached", may_wake=True) from exc

    def _content(self, response: requests.Response, deadline: float) -> bytes:
        """Return an answer's body; requests has a time limit for each read of it, not for all."""
        content = bytearray()
        while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
            content += piece
            if len(content) > LIMIT_ANSWER_BYTES:
                raise BackendUnreachable(f"{self.base_url} answered more than this page reads")
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
        return bytes(content)

    def _decoded(self, response: requests.Response, content: bytes, answer: type[T]) -> T:
        """Return the body as the type the contract promises, or raise what it is instead."""
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if media_type == contract.PROBLEM_TYPE:
            problem = msgspec.json.decode(content, type=contract.Problem)
            slug = problem.type.rpartition(":")[2]
            if slug in PASSING:
                raise PASSING[slug](problem.detail)
            raise RequestRefused(problem.detail, slug, response.status_code)
        if response.status_code != requests.codes.ok:
            raise self._platform_error(response)
        return msgspec.json.decode(content, type=answer)

    def _platform_error(self, response: requests.Response) -> BackendError:
        status = response.status_code
        answered = f"{self.base_url} answered {status}"
        # Cloud Run's own answers to a caller without a valid token, or whose account may not call.
        if status not in {401, 403}:
            may_wake = status in WAKING_STATUSES
            return BackendUnreachable(f"{answered} and not as this service does", may_wake=may_wake)
        next_step = "where it is not public, set SERVING_AUTH=id-token"
        if "Authorization" in response.request.headers:
            next_step = (
                "grant this frontend's service account roles/run.invoker on it, "
                "and name it by the address that Cloud Run gave it"
            )
        return CallerNotAllowed(f"{answered}, it does not let this frontend call it: {next_step}")


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


def _model_path(path: str, model: str) -> str:
    """Return the path of this model; an id from outside stays one segment of it.

    RequestRefused where the id cannot be one, as "." and ".." mean other paths, however written.
    """
    if not model.strip("."):
        raise RequestRefused(f"there is no model {model!r}", UnknownModel.slug, UnknownModel.status)
    return path.format(model=quote(model, safe=""))
