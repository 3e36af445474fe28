"""The client, against a real server on loopback that answers well, badly, or not at all."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests
from flask import Flask, Response, redirect, request
from werkzeug.serving import make_server

from imgserve import errors
from imgserve.contract import PROBLEM_TYPE, ModelState, Problem
from imgserve.frontend import client as client_module
from imgserve.frontend.client import LIMIT_ANSWER_BYTES, BackendAnswer, Picture, connect
from imgserve.frontend.client import BackendClient as Client
from imgserve.settings import FrontendSettings
from tests.unit.picture_host import Answer, PictureHost, endless, raw, reply

CAT = Picture("http://x/cat.png")
FILE = Picture(data=b"picture")
ANSWER = {
    "category": "tabby",
    "model": "resnet152",
    "predictions": [{"category": "tabby", "class_id": 281, "probability": 0.75}],
    "timings_ms": {"fetch": 1, "decode": 2, "preprocess": 3, "inference": 4, "total": 10},
    "thumbnail": "data:image/jpeg;base64,AA==",
    "explanation": [[0, 1], [0.5, 0]],
}
EXPECTED = msgspec.convert(ANSWER, BackendAnswer)
STATE = {"id": "swin_b", "title": "Swin B", "parameters": 9, "top1": 83.582, "input_size": 224}
STATE |= {"size_bytes": None, "state": "absent", "detail": "no weights"}


class Backend:
    """A server with the answers that a test chooses, what it was sent, and a client of it.

    It gives one a request, the last one from then on.
    """

    def __init__(self) -> None:
        self.answers: list[Any] = [ANSWER]
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        app = Flask(__name__)
        app.add_url_rule("/<path:_>", view_func=self._answer, methods=["GET", "POST"])
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.session = requests.Session()
        self.client = Client(self.url, timeout_s=5, session=self.session)

    def _answer(self, _: str) -> Any:
        files = {name: (file.content_type, file.read()) for name, file in request.files.items()}
        self.paths.append(request.environ["RAW_URI"])
        self.bodies.append((request.get_json(silent=True) or request.form.to_dict()) | files)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    thread = threading.Thread(target=backend.server.serve_forever, args=(0.05,))
    thread.start()
    with backend.session:
        yield backend
    backend.server.shutdown()
    thread.join()
    backend.server.server_close()


def test_people_share_connections_and_no_cookies() -> None:
    with PictureHost(reply(b'["swin_b"]', "200 OK", "Set-Cookie: mine=1")) as host:
        for _ in range(3):
            settings = FrontendSettings(serving_url=host.origin)
            assert connect(settings.backend_url, settings).models() == ["swin_b"]
        assert host.connections == 1
        assert not any(b"mine" in request for request in host.requests)


SENT = {"thumbnail": "true", "image": ("application/octet-stream", b"picture")}


@pytest.mark.parametrize(
    ("picture", "body", "options"),
    [
        (CAT, {"url": CAT.url, "thumbnail": True}, {"top_k": 3, "explain": True}),
        (FILE, SENT, {"top_k": "3", "explain": "true"}),
    ],
    ids=["url", "file"],
)
def test_a_picture_is_posted_as_the_contract_has_it_and_the_answer_decoded_and_timed(
    backend: Backend, picture: Picture, body: dict[str, Any], options: dict[str, Any]
) -> None:
    answered = backend.client.predict(picture)
    assert answered.answer == EXPECTED
    assert answered.round_trip_ms > 0
    backend.client.predict(picture, None, 3, explain=True)
    assert backend.bodies == [body, body | options]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (None, "/predict"),
        ("swin_b", "/model/swin_b/predict"),
        ("a?b=c#d", "/model/a%3Fb%3Dc%23d/predict"),
        ("Ün 1%2e", "/model/%C3%9Cn%201%252e/predict"),
        ("../model/swin_b", "/model/..%2Fmodel%2Fswin_b/predict"),
    ],
)
def test_a_model_is_one_segment_of_the_path(backend: Backend, model: str | None, path: str) -> None:
    backend.client.predict(CAT, model)
    assert backend.paths == [path]
    assert backend.client.predict_address(model) == backend.url + path


@pytest.mark.parametrize("model", ["", ".", ".."])
def test_an_id_that_is_another_path_is_refused_unsent(backend: Backend, model: str) -> None:
    for call in (backend.client.model, lambda model: backend.client.predict(CAT, model)):
        with pytest.raises(errors.RequestRefused, match="there is no model") as caught:
            call(model)
        assert (caught.value.slug, caught.value.status) == ("unknown-model", 404)
    assert backend.paths == []


def test_models_are_listed_in_order_and_described(backend: Backend) -> None:
    backend.answers = [["swin_b", "resnet152"], STATE]
    assert backend.client.models() == ["swin_b", "resnet152"]
    assert backend.client.model("swin_b") == msgspec.convert(STATE, ModelState)
    assert backend.paths == ["/models", "/model/swin_b"]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (503, "not-ready", errors.BackendNotReady),
        (503, "busy", errors.BackendBusy),
        (503, "model-unavailable", errors.RequestRefused),
        (415, "unsupported-format", errors.RequestRefused),
        (502, "backend-unreachable", errors.RequestRefused),  # a gateway's
        (401, "unauthorized", errors.RequestRefused),  # and not taken for Cloud Run's own
    ],
)
def test_a_problem_keeps_its_detail_and_one_that_waiting_does_not_mend_its_slug_and_status(
    backend: Backend, status: int, slug: str, kind: type[errors.BackendError]
) -> None:
    problem = Problem(f"urn:imgserve:problem:{slug}", slug, status, "try otherwise", "r1")
    body, media_type = msgspec.json.encode(problem), f"{PROBLEM_TYPE}; charset=utf-8"
    backend.answers = [Response(body, status, content_type=media_type)]
    with pytest.raises(kind, match="try otherwise") as caught:
        backend.client.predict(CAT)
    assert caught.value.may_wake == (slug == "not-ready")
    if isinstance(caught.value, errors.RequestRefused):
        assert (caught.value.slug, caught.value.status) == (slug, status)


UNREAD, HUGE = "something this page cannot read", "more than this page reads"


@pytest.mark.parametrize(
    ("answer", "words", "wakes"),
    [
        *((("<html>starting", status), str(status), True) for status in (429, 502, 503, 504)),
        (("<html>not found", 404), "404", False),
        (redirect("/models"), "302", False),
        (Response("<html>welcome</html>"), UNREAD, False),
        (Response('{"category": "tab', content_type="application/json"), UNREAD, False),
        ({"class": "tabby"}, UNREAD, False),
        (Response("not JSON", 400, content_type=PROBLEM_TYPE), UNREAD, False),
        (b"", UNREAD, False),
        (b" " * LIMIT_ANSWER_BYTES, UNREAD, False),
        (b" " * (LIMIT_ANSWER_BYTES + 1), HUGE, False),
    ],
)
def test_what_is_no_answer_is_unreachable_and_a_platforms_page_at_a_start_may_wake(
    backend: Backend, answer: Any, words: str, wakes: bool
) -> None:
    backend.answers = [answer]
    for call in (
        lambda: backend.client.predict(CAT),
        backend.client.models,
        lambda: backend.client.model("swin_b"),
    ):
        with pytest.raises(errors.BackendUnreachable, match=f"answered {words}") as caught:
            call()
        assert caught.value.may_wake == wakes
    assert len(backend.paths) == 3  # no redirect is followed


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ("http://127.0.0.1:1", errors.BackendUnreachable),
        ("http://backend.invalid", errors.BackendUnreachable),
        (raw(b""), errors.BackendUnreachable),
        (raw(HEAD), errors.BackendUnreachable),
        (raw(b"", is_kept=True), errors.BackendTimeout),
        (raw(HEAD, is_kept=True), errors.BackendTimeout),
        (endless(HEAD.replace(b"99", b"9999"), b" "), errors.BackendTimeout),
    ],
    ids=["nobody", "no-name", "hung-up", "hung-up-midway", "silent", "silent-midway", "dripping"],
)
def test_nobody_or_a_lost_connection_may_wake_and_no_whole_answer_in_time_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch, there: str | Answer, kind: type[errors.BackendError]
) -> None:
    monkeypatch.setattr(client_module, "ABOUT_MODELS_TIMEOUT_S", 0.2)  # less than a prediction's
    with contextlib.ExitStack() as stack:
        url = there if isinstance(there, str) else stack.enter_context(PictureHost(there)).origin
        session = stack.enter_context(requests.Session())
        started = time.monotonic()
        with pytest.raises(errors.BackendError) as caught:
            Client(url, timeout_s=60, session=session).models()
    assert time.monotonic() - started < 30
    assert type(caught.value) is kind
    assert caught.value.may_wake == (kind is errors.BackendUnreachable)


def test_an_answer_of_the_assignment_s_own_backend_is_the_category_alone(backend: Backend) -> None:
    backend.answers = [{"category": "tabby"}]
    found = backend.client.predict(CAT).answer
    assert (found.category, found.predictions, found.model) == ("tabby", [], "")
