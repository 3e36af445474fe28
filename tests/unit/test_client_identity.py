"""ID tokens: a metadata server's stand-in gives them, a backend's stand-in reads them."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.auth import _exponential_backoff, jwt
from google.auth.compute_engine import _metadata
from requests import Response
from urllib3.response import HTTPResponse

from imgserve.errors import CallerNotAllowed, IdentityUnavailable
from imgserve.frontend import identity
from imgserve.frontend.client import connect
from imgserve.frontend.identity import IdTokenAuth
from imgserve.settings import FrontendSettings
from tests.servers import Quiet, served

AUDIENCE = "https://backend.test"
PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def token(**claims: Any) -> str:
    """Return a token with these claims that nobody signed."""
    return jwt.encode(SimpleNamespace(key_id=None, sign=lambda _: b""), claims).decode()


def claims_of(header: str | None) -> Any:
    """Return what the token of an ``Authorization`` header says."""
    scheme, _, given = (header or "").partition(" ")
    assert scheme == "Bearer"
    return jwt.decode(given, verify=False)


class MetadataServer:
    """The part of a metadata server that gives ID tokens."""

    def __init__(self) -> None:
        self.audiences: list[str] = []  # of every token that was asked for
        self.lifetime_s = 3600.0  # of the tokens from now on
        self.delay_s = 0.0  # before each answer
        self.status = 200
        self.instead = ""  # answered in the place of a token, if not empty

    def answer(self, path: str, flavor: str | None) -> tuple[int, str]:
        url = urlsplit(path)
        if url.path != PATH or flavor != "Google":
            return 403, "not as a metadata server is asked"
        query = parse_qs(url.query)
        assert query["format"] == ["full"]
        self.audiences += query["audience"]
        time.sleep(self.delay_s)
        number, expires = len(self.audiences), int(time.time() + self.lifetime_s)
        return self.status, self.instead or token(aud=query["audience"][0], exp=expires, jti=number)


class Backend(requests.adapters.BaseAdapter):
    """A backend that always answers, the tokens it was sent, and the server that gives them."""

    def __init__(self, metadata: MetadataServer, patch: pytest.MonkeyPatch) -> None:
        self.metadata, self.patch = metadata, patch
        self.seen: list[str | None] = []
        self.status = 200

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> Response:
        self.seen.append(request.headers.get("Authorization"))
        response = Response()
        response.status_code, response.request = self.status, request
        response.raw = HTTPResponse(io.BytesIO(b'["resnet152"]'), preload_content=False)
        return response

    def ask(self, times: int = 1, serving_auth: str = "id-token") -> None:
        """Ask it for its models, as people's pages do."""
        settings = FrontendSettings(serving_url=f"{AUDIENCE}/path", serving_auth=serving_auth)
        for _ in range(times):
            client = connect(settings.backend_url, settings)
            client._session.mount(AUDIENCE, self)
            client.models()

    def numbers(self) -> list[int]:
        """Return the numbers of the tokens that came, in the order they were given."""
        return [claims_of(header)["jti"] for header in self.seen]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    connect.cache_clear()
    # google-auth's pauses between tries take no time.
    monkeypatch.setattr(_exponential_backoff, "time", SimpleNamespace(sleep=lambda _: None))
    metadata = MetadataServer()

    class Handler(Quiet):
        def respond(self) -> None:
            status, body = metadata.answer(self.path, self.headers["Metadata-Flavor"])
            google = {"Metadata_Flavor": "Google", "Content_Type": "text/plain"}
            self.answer(status, body.encode(), **google)

    with served(Handler) as origin:
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", origin.removeprefix("http://"))
        yield Backend(metadata, monkeypatch)


def test_a_token_for_the_backends_root_serves_many_calls_at_once(backend: Backend) -> None:
    backend.metadata.delay_s = 0.2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: backend.ask(times=2), range(8)))
    assert claims_of(backend.seen[0])["aud"] == AUDIENCE
    assert backend.numbers() == [1] * 16
    assert backend.metadata.audiences == [AUDIENCE]


@pytest.mark.parametrize(("status", "numbers"), [(200, [1, 2, 2]), (503, [1, 1, 1])])
def test_a_token_about_to_expire_is_renewed_and_used_where_it_cannot_be(
    backend: Backend, caplog: pytest.LogCaptureFixture, status: int, numbers: list[int]
) -> None:
    backend.patch.setattr(identity, "PAUSE_S", 0.0)
    backend.metadata.lifetime_s = 60
    backend.ask()
    backend.metadata.lifetime_s, backend.metadata.status = 3600, status
    backend.ask(times=2)
    assert backend.numbers() == numbers
    assert (f"no new ID token for {AUDIENCE}" in caplog.text) == (status != 200)


def test_a_metadata_server_that_is_away_is_one_error_that_is_not_waited_for(
    backend: Backend,
) -> None:
    backend.patch.setattr(_metadata, "_GCE_METADATA_HOST", "metadata.invalid")
    for _ in range(2):
        said = f"no ID token for {AUDIENCE}: .*unavail"
        with pytest.raises(IdentityUnavailable, match=said) as caught:
            backend.ask()
        assert not caught.value.may_wake
        assert "\n" not in str(caught.value)
    assert backend.seen == []


def test_a_metadata_server_that_fails_is_left_alone_for_a_while(backend: Backend) -> None:
    backend.metadata.status = 503
    for _ in range(3):
        with pytest.raises(IdentityUnavailable):
            backend.ask()
    tries = len(backend.metadata.audiences)
    assert tries == 5  # google-auth's own, for the first call
    backend.metadata.status = 200
    backend.patch.setattr(identity, "time", SimpleNamespace(monotonic=lambda: float("inf")))
    backend.ask()
    assert len(backend.metadata.audiences) == tries + 1


def test_a_service_without_an_account_says_what_the_metadata_server_said(backend: Backend) -> None:
    backend.metadata.status, backend.metadata.instead = 404, "no account here"
    with pytest.raises(IdentityUnavailable, match=r"404.*no account here"):
        backend.ask()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("<html>welcome", "gave something else"),
        (token(aud="x"), "gave something else"),
        (token(exp=1), "gave one that has expired"),
    ],
    ids=["page", "no-expiry", "expired"],
)
def test_an_answer_that_is_no_token_is_neither_sent_nor_shown(
    backend: Backend, answer: str, why: str
) -> None:
    backend.metadata.instead = answer
    with pytest.raises(IdentityUnavailable, match=why) as caught:
        backend.ask()
    assert answer not in str(caught.value)
    assert backend.seen == []


@pytest.mark.parametrize(
    ("base_url", "url", "audience"),
    [
        ("https://Backend.Test/path", "https://backend.test/path/models", AUDIENCE),
        ("https://name:word@backend.test/", "https://backend.test/models", AUDIENCE),
        ("http://[::1]:80/predict?x=y", "http://[::1]:80/models", "http://[::1]:80"),
        (AUDIENCE, "https://other.test/ready", None),
        (AUDIENCE, "https://backend.test.evil.test/ready", None),
        (AUDIENCE, "https://backend.test@evil.test/ready", None),
        (AUDIENCE, "https://backend.test:8443/ready", None),
        (AUDIENCE, "http://backend.test/ready", None),
    ],
)
def test_the_backend_gets_the_token_past_a_proxy_and_nobody_else_does(
    backend: Backend, base_url: str, url: str, audience: str | None
) -> None:
    backend.patch.setenv("HTTP_PROXY", "http://proxy.invalid")
    backend.patch.setenv("no_proxy", "")
    request = requests.Request("GET", url, auth=IdTokenAuth(base_url)).prepare()
    header = request.headers.get("Authorization")
    assert (header and claims_of(header)["aud"]) == audience
    assert backend.metadata.audiences == ([audience] if audience else [])


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("serving_auth", "next_step"),
    [("none", "set SERVING_AUTH=id-token"), ("id-token", "grant .* roles/run.invoker")],
)
def test_a_platform_that_lets_nobody_through_says_what_to_change(
    backend: Backend, status: int, serving_auth: str, next_step: str
) -> None:
    backend.status = status
    said = f"{AUDIENCE}/path answered {status}, .*{next_step}"
    with pytest.raises(CallerNotAllowed, match=said) as caught:
        backend.ask(serving_auth=serving_auth)
    assert not caught.value.may_wake
    assert "Bearer" not in str(caught.value)
    assert (backend.seen == [None]) == (serving_auth == "none")
    assert backend.metadata.audiences == ([] if serving_auth == "none" else [AUDIENCE])
