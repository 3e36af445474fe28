"""The client, against a real server on loopback that answers well, badly, or not at all."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import requests
from flask import Flask, Response, redirect, request
from werkzeug.serving import make_server

from imgserve import errors
from imgserve.contract import PROBLEM_TYPE, ModelState, PredictAnswer, Prediction, Timings
from imgserve.frontend import client as client_module
from imgserve.frontend.client import LIMIT_ANSWER_BYTES, Picture, connect
from imgserve.frontend.client import BackendClient as Client
from imgserve.frontend.predict import retry_while_waking
from imgserve.settings import FrontendSettings
from tests.unit.picture_host import Answer, PictureHost, endless, raw, silence

CAT = Picture("http://x/cat.png")
FILE = Picture(data=b"picture", content_type="image/png")
ANSWER = {
    "category": "tabby",
    "model": "resnet152",
    "predictions": [{"category": "tabby", "class_id": 281, "probability": 0.75}],
    "timings_ms": {"fetch": 1, "decode": 2, "preprocess": 3, "inference": 4, "total": 10},
    "thumbnail": "data:image/jpeg;base64,AA==",
}
EXPECTED = PredictAnswer(
    category="tabby",
    model="resnet152",
    predictions=[Prediction("tabby", 281, 0.75)],
    timings_ms=Timings(1, 2, 3, 4, 10),
    thumbnail="data:image/jpeg;base64,AA==",
)
STATE: dict[str, Any] = {
    "id": "swin_b",
    "title": "Swin Transformer B",
    "parameters": 87_768_224,
    "top1": 83.582,
    "input_size": 224,
    "size_bytes": None,
    "state": "absent",
}


def problem(status: int, slug: str, detail: str) -> Response:
    """Return a problem document as a backend words it."""
    fields = {"type": f"urn:imgserve:problem:{slug}", "title": slug, "status": status}
    body = json.dumps({**fields, "detail": detail, "request_id": "r1"})
    return Response(body, status, content_type=f"{PROBLEM_TYPE}; charset=utf-8")


class Backend(NamedTuple):
    """A server whose answers a test chooses, and what it was sent."""

    url: str
    app: Flask
    seen: list[dict[str, Any]]

    def answers(self, *answers: Callable[[], Any]) -> None:
        """Give these answers, one a request, the last one from then on."""
        left = list(answers)

        def answer() -> Any:
            chosen = left.pop(0) if len(left) > 1 else left[0]
            return chosen()

        self.app.config["answer"] = answer


@pytest.fixture
def backend() -> Iterator[Backend]:
    app, seen = Flask(__name__), []
    app.config["answer"] = lambda: ANSWER

    @app.get("/models")
    @app.get("/model/<model>")
    def about(model: str = "") -> Any:
        seen.append({"model": model})
        return app.config["answer"]()

    @app.post("/predict")
    @app.post("/model/<model>/predict")
    def predict(model: str | None = None) -> Any:
        files = {name: (file.content_type, file.read()) for name, file in request.files.items()}
        body = request.get_json() if request.is_json else request.form.to_dict()
        seen.append({"body": body, "files": files, "model": model})
        return app.config["answer"]()

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Backend(f"http://127.0.0.1:{server.server_port}", app, seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(backend: Backend) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(backend.url, timeout_s=5, session=session)


def test_people_share_connections_and_no_cookies() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: mine=1\r\nContent-Type: application/json\r\n"
    models = head + b'Content-Length: 10\r\n\r\n["swin_b"]'
    with PictureHost(lambda sock, _: sock.sendall(models) is None) as host:
        for _ in range(3):
            settings = FrontendSettings(serving_url=host.origin)
            assert connect(settings.backend_url, settings).models() == ["swin_b"]
        assert host.connections == 1
        assert not any(b"mine" in request for request in host.requests)


def test_url_is_posted_as_json_and_the_answer_decoded(client: Client, backend: Backend) -> None:
    assert client.predict(CAT, top_k=3).answer == EXPECTED
    assert backend.seen[0]["body"] == {"url": CAT.url, "top_k": 3, "thumbnail": True}


def test_image_is_posted_as_the_contracts_form(client: Client, backend: Backend) -> None:
    assert client.predict(FILE).answer == EXPECTED
    assert backend.seen[0]["body"] == {"thumbnail": "true"}
    assert backend.seen[0]["files"] == {"image": ("image/png", b"picture")}


def test_where_the_model_looked_is_asked_for_both_ways(client: Client, backend: Backend) -> None:
    backend.answers(lambda: {**ANSWER, "explanation": [[0, 1], [0.5, 0]]})
    assert client.predict(CAT, explain=True).answer.explanation == [[0, 1], [0.5, 0]]
    client.predict(FILE, explain=True)
    assert [request["body"]["explain"] for request in backend.seen] == [True, "true"]


def test_a_model_given_is_in_the_path(client: Client, backend: Backend) -> None:
    client.predict(CAT, model="swin_b")
    client.predict(FILE, model="vgg16")
    client.predict(CAT)
    assert [request["model"] for request in backend.seen] == ["swin_b", "vgg16", None]
    assert "model" not in backend.seen[0]["body"]


def test_models_are_listed_in_order_and_described(client: Client, backend: Backend) -> None:
    backend.answers(lambda: ["swin_b", "resnet152"], lambda: dict(STATE, detail="no weights"))
    assert client.models() == ["swin_b", "resnet152"]
    assert client.model("swin_b") == ModelState(**STATE, detail="no weights")


@pytest.mark.parametrize("model", ["a?b=c#d", "Ünï 1%2e"])
def test_an_id_stays_one_segment_of_the_path(client: Client, backend: Backend, model: str) -> None:
    client.predict(CAT, model=model)
    with pytest.raises(errors.BackendUnreachable):  # Flask's own 404
        client.predict(CAT, model="../model/swin_b")
    assert [request["model"] for request in backend.seen] == [model]


@pytest.mark.parametrize("model", ["", ".", ".."])
def test_an_id_that_is_another_path_is_refused_unsent(
    client: Client, backend: Backend, model: str
) -> None:
    for call in (client.model, lambda model: client.predict(CAT, model=model)):
        with pytest.raises(errors.RequestRefused, match="there is no model") as caught:
            call(model)
        assert (caught.value.slug, caught.value.status) == ("unknown-model", 404)
    assert backend.seen == []


def test_questions_about_models_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ABOUT_MODELS_TIMEOUT_S", 0.2)
    with PictureHost(silence) as host, requests.Session() as session:
        client = Client(host.origin, timeout_s=60, session=session)
        with pytest.raises(errors.BackendTimeout):
            client.models()


@pytest.mark.parametrize("call", [Client.models, lambda client: client.model("swin_b")])
def test_a_list_that_is_none_is_unreachable(
    client: Client, backend: Backend, call: Callable[[Client], Any]
) -> None:
    backend.answers(lambda: {"models": 1})
    with pytest.raises(errors.BackendUnreachable, match="cannot read"):
        call(client)


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
    client: Client, backend: Backend, status: int, slug: str, kind: type[errors.BackendError]
) -> None:
    backend.answers(lambda: problem(status, slug, "try otherwise"))
    with pytest.raises(kind, match="try otherwise") as caught:
        client.predict(CAT)
    assert caught.value.may_wake == (slug == "not-ready")
    if isinstance(caught.value, errors.RequestRefused):
        assert (caught.value.slug, caught.value.status) == (slug, status)


@pytest.mark.parametrize(
    ("answer", "wakes"),
    [
        *((partial(Response, "<html>starting", status), True) for status in (429, 502, 503, 504)),
        (lambda: redirect("/models"), False),
        (lambda: Response("<html>welcome</html>", 200), False),
        (lambda: Response('{"category": "tab', 200, content_type="application/json"), False),
        (lambda: {"class": "tabby"}, False),
        (lambda: Response("not JSON", 400, content_type=PROBLEM_TYPE), False),
    ],
)
def test_what_is_no_answer_is_unreachable_and_a_platforms_page_at_a_start_may_wake(
    client: Client, backend: Backend, answer: Callable[[], Any], wakes: bool
) -> None:
    backend.answers(answer)
    with pytest.raises(errors.BackendUnreachable, match="answered") as caught:
        client.predict(CAT)
    assert caught.value.may_wake == wakes
    assert len(backend.seen) == 1  # no redirect is followed


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"


def silent_midway(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(HEAD)
    return silence(sock, request)


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ("http://127.0.0.1:1", errors.BackendUnreachable),
        ("http://backend.invalid", errors.BackendUnreachable),
        (raw(b""), errors.BackendUnreachable),
        (raw(HEAD), errors.BackendUnreachable),
        (silence, errors.BackendTimeout),
        (silent_midway, errors.BackendTimeout),
        (endless(HEAD.replace(b"99", b"9999"), b" "), errors.BackendTimeout),
    ],
    ids=["nobody", "no-name", "hung-up", "hung-up-midway", "silent", "silent-midway", "dripping"],
)
def test_nobody_or_a_lost_connection_may_wake_and_no_whole_answer_in_time_is_a_timeout(
    there: str | Answer, kind: type[errors.BackendError]
) -> None:
    with contextlib.ExitStack() as stack:
        url = there if isinstance(there, str) else stack.enter_context(PictureHost(there)).origin
        session = stack.enter_context(requests.Session())
        with pytest.raises(errors.BackendError) as caught:
            Client(url, timeout_s=0.2, session=session).models()
    assert type(caught.value) is kind
    assert caught.value.may_wake == (kind is errors.BackendUnreachable)


def test_an_answer_of_the_assignment_s_own_backend_is_the_category_alone(
    client: Client, backend: Backend
) -> None:
    backend.answers(lambda: {"category": "tabby"})
    found = client.predict(CAT).answer
    assert (found.category, found.predictions, found.model) == ("tabby", [], "")


@pytest.mark.parametrize("size", [0, LIMIT_ANSWER_BYTES, LIMIT_ANSWER_BYTES + 1])
def test_an_empty_or_a_huge_answer_says_so(size: int, client: Client, backend: Backend) -> None:
    backend.answers(lambda: Response(b" " * size, content_type="application/json"))
    is_huge = size > LIMIT_ANSWER_BYTES
    words = "answered more than this page reads" if is_huge else "something this page cannot read"
    with pytest.raises(errors.BackendUnreachable, match=words) as caught:
        client.models()
    assert not caught.value.may_wake


# --- waiting -------------------------------------------------------------------------------------


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make pauses take no time, and return them."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def test_a_waking_backend_is_asked_until_it_answers(
    client: Client, backend: Backend, no_pause: list[float]
) -> None:
    asleep = problem(503, "not-ready", "loading")
    backend.answers(lambda: asleep, lambda: Response("<html>", 502), lambda: ANSWER)
    waits: list[int] = []
    answer = retry_while_waking(
        lambda: client.predict(CAT),
        timeout_s=60,
        on_wait=lambda: waits.append(1),
    )
    assert answer.answer == EXPECTED
    assert len(waits) == len(no_pause) == 2


def test_waiting_ends_at_its_limit_with_the_last_error() -> None:
    def asleep() -> None:
        raise errors.BackendNotReady("loading")

    started = time.monotonic()
    with pytest.raises(errors.BackendNotReady, match="loading"):
        retry_while_waking(asleep, timeout_s=1.5, on_wait=lambda: None)
    assert time.monotonic() - started < 1.5


def test_what_waiting_cannot_mend_is_raised_at_once(no_pause: list[float]) -> None:
    def refused() -> None:
        raise errors.RequestRefused("not a picture", "unsupported-format", 415)

    with pytest.raises(errors.RequestRefused):
        retry_while_waking(refused, timeout_s=60, on_wait=lambda: None)
    assert no_pause == []
