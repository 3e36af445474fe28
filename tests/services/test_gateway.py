"""The real nginx with the configuration made for it: what callers get, what backends see."""

import json
import os
import re
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from imgserve.contract import FORM_OVERHEAD_BYTES, Problem
from imgserve.settings import BackendSettings
from tests.services.gateway_process import (
    Gateway,
    Lab,
    Upstream,
    assert_problem,
    make_lab,  # noqa: F401  a fixture
    raw,
)

LIMIT_BYTES = BackendSettings.max_image_bytes + FORM_OVERHEAD_BYTES
API_KEY = "a-Key;with}\"quotes'$and\\more"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PREDICT = "/model/swin_b/predict"


@pytest.fixture(scope="module")
def upstreams(lab: Lab) -> dict[str, Upstream]:
    """Return two backends, the default first."""
    return {"vgg16": lab.upstream(), "swin_b": lab.upstream()}


@pytest.fixture
def swin_b(upstreams: dict[str, Upstream]) -> Iterator[Upstream]:
    """Return the backend of swin_b, which may be told what to answer."""
    yield upstreams["swin_b"]
    upstreams["swin_b"].answer_with()


@pytest.fixture(scope="module")
def gateway(lab: Lab, upstreams: dict[str, Upstream]) -> Gateway:
    """Return a gateway before both; tests leave it as it is."""
    urls = {model: upstream.url for model, upstream in upstreams.items()}
    return lab.gateway(urls, GOOGLE_CLOUD_PROJECT="a-project")


@pytest.fixture(scope="module")
def locked(lab: Lab, upstreams: dict[str, Upstream]) -> Gateway:
    """Return a gateway that asks for a key."""
    return lab.gateway({"swin_b": upstreams["swin_b"].url}, API_KEY=API_KEY)


@pytest.mark.parametrize(
    ("path", "said"),
    [("/hello", "Hello!"), ("/ready", {"status": "ready"}), ("/models", ["vgg16", "swin_b"])],
)
def test_gateway_itself_says_whether_it_is_there_and_which_models_are(
    path: str, said: object, gateway: Gateway
) -> None:
    answer = gateway.get(path)
    assert (answer.json(), answer.headers["Content-Type"]) == (said, "application/json")
    assert answer.headers["Server"] == "nginx"  # and not its version
    assert gateway.request("HEAD", path).status_code == 200


@pytest.mark.parametrize("model", ["vgg16", "swin_b"])
def test_each_path_reaches_the_backend_of_its_model(
    model: str, gateway: Gateway, upstreams: dict[str, Upstream]
) -> None:
    port = upstreams[model].server_port
    for method, path, body in (
        ("GET", f"/model/{model}?a=%2F&b", b""),
        ("POST", f"/model/{model}/predict?top_k=3", b"abc"),
    ):
        seen = gateway.request(method, path, body).json()
        assert (seen["port"], seen["method"], seen["path"]) == (port, method, path)
        assert seen["size"] == len(body)


@pytest.mark.parametrize(
    "path", ["//model//swin_b", "/model/%73win_b", "/x/../model/swin_b", "/model/./swin_b"]
)
def test_backend_sees_the_path_that_was_chosen_by(path: str, gateway: Gateway) -> None:
    request = f"GET {path}?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    status, _, body = raw(gateway.port, request.encode())
    assert (status, json.loads(body)["path"]) == (200, "/model/swin_b?q")


def test_backend_sees_its_own_host_who_called_and_the_trace(
    gateway: Gateway, swin_b: Upstream
) -> None:
    passed_on = {
        "x-forwarded-proto": "https",
        "content-type": "image/png",
        "authorization": "Bearer token",
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "tracestate": "vendor=1",
        "x-cloud-trace-context": f"{TRACE}/1;o=1",
    }
    given = passed_on | {"X-Forwarded-For": "203.0.113.7"}
    seen = gateway.post(PREDICT, b"abc", given).json()["headers"]
    assert {name: seen[name] for name in passed_on} == passed_on
    assert seen["host"] == f"127.0.0.1:{swin_b.server_port}"
    assert seen["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
    assert "connection" not in seen


@pytest.mark.parametrize(
    ("w3c", "google", "trace", "span", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", f"{SPAN * 2}/1;o=0", TRACE, SPAN, True),
        (f"00-{TRACE}-{SPAN}-00", "", TRACE, SPAN, False),
        (f"00-{TRACE}-{SPAN}", "", "", "", False),
        ("", f"{TRACE}/12;o=1", TRACE, "", True),
        ("", f"{TRACE}/12;o=0", TRACE, "", False),
        ("", TRACE, TRACE, "", False),
        ("", '"},{"o=1', "", "", False),
    ],
)
def test_log_names_the_trace_where_there_is_one(
    w3c: str, google: str, trace: str, span: str, sampled: bool, gateway: Gateway
) -> None:
    answer = gateway.get("/hello", {"traceparent": w3c, "X-Cloud-Trace-Context": google})
    entry = gateway.entry(answer.headers["X-Request-Id"])
    expected = f"projects/a-project/traces/{trace}" if trace else ""
    assert entry["logging.googleapis.com/trace"] == expected
    assert entry["logging.googleapis.com/spanId"] == span
    assert entry["logging.googleapis.com/trace_sampled"] is sampled


def test_log_is_json_in_cloud_loggings_names_and_holds_no_query(gateway: Gateway) -> None:
    headers = {"User-Agent": 'x"\\\t"', "X-Request-Id": "logged"}
    gateway.get("/model/swin_b?url=https://example.com/private", headers)
    entry = gateway.entry("logged")
    assert entry["severity"] == "INFO"
    assert entry["message"] == "GET /model/swin_b 200"
    assert entry["model"] == "swin_b"
    http = entry["httpRequest"]
    assert (http["requestMethod"], http["status"], http["remoteIp"]) == ("GET", 200, "127.0.0.1")
    assert (http["requestUrl"], http["userAgent"]) == ("/model/swin_b", headers["User-Agent"])
    assert re.fullmatch(r"\d+\.\d{3}s", http["latency"])
    assert "private" not in "".join(gateway.log)


@pytest.mark.parametrize("given", [None, "", "two words", 'a"b', "$id", "x" * 65, "a,b", "é"])
def test_request_id_is_made_where_there_is_no_good_one(given: str | None, gateway: Gateway) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode("latin-1")}
    answer = gateway.get("/model/swin_b", headers)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.json()["headers"]["x-request-id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/model/swin_b", "/hello", "/nothing"])
def test_request_id_of_the_caller_is_kept_whatever_the_backend_says(
    path: str, gateway: Gateway, swin_b: Upstream
) -> None:
    swin_b.answer_with(headers={"X-Request-Id": "another"})
    answer = gateway.get(path, {"X-Request-Id": "an.id_of-mine"})
    assert answer.headers["X-Request-Id"] == "an.id_of-mine"
    if path == "/model/swin_b":
        assert answer.json()["headers"]["x-request-id"] == "an.id_of-mine"


@pytest.mark.parametrize(
    ("name", "repeated"),
    [
        *(("resnet152", "'resnet152' "), ("resnet152/predict", "'resnet152' ")),
        *((name, "") for name in ('"', "%0d%0aX:y", "$id", "%24%7Bid%7D", "é", "x" * 500, "'")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_model_is_named_unless_its_name_is_hostile(
    method: str, name: str, repeated: str, gateway: Gateway
) -> None:
    answer = gateway.request(method, f"/model/{name}")
    detail = assert_problem(answer, 404, "unknown-model")
    assert detail == f"there is no model {repeated}here: choose one of vgg16, swin_b"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/predict", "/metrics", "/model", "/model/", "/model/swin_b/", "/model/swin_b/x"),
        *("/model/swin_b/predict/", "/models/", "/problem/invalid-request", "/index.html"),
    ],
)
def test_unknown_route_is_told_which_there_are(path: str, gateway: Gateway) -> None:
    answer = gateway.get(path)
    detail = assert_problem(answer, 404, "unknown-route")
    assert "/models, /model/<id>, /model/<id>/predict" in detail


@pytest.mark.parametrize("path", ["/hello", "/ready", "/models"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_wrong_method_is_told_which_are_right(path: str, method: str, gateway: Gateway) -> None:
    answer = gateway.request(method, path)
    assert answer.headers["Allow"] == "GET, HEAD"
    assert_problem(answer, 405, "method-not-allowed")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /model/swin_b/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        # One request to some, two to others.
        b"POST /model/swin_b/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_request_that_is_not_http_is_a_problem_too(request_bytes: bytes, gateway: Gateway) -> None:
    status, headers, body = raw(gateway.port, request_bytes)
    problem = Problem(**json.loads(body))
    assert (status, problem.type) == (400, "urn:imgserve:problem:invalid-request")
    assert headers["X-Request-Id"] == problem.request_id
    assert headers["Content-Type"] == "application/problem+json"


def pieces(size: int) -> Iterator[bytes]:
    """Yield so many bytes, for a body sent in chunks."""
    for start in range(0, size, 65536):
        yield b"x" * min(65536, size - start)


@pytest.mark.parametrize("body", [bytes, pieces])
def test_picture_at_the_limit_passes_and_a_larger_one_is_refused(
    body: Any, gateway: Gateway
) -> None:
    seen = gateway.post(PREDICT, body(LIMIT_BYTES)).json()
    assert seen["headers"]["content-length"] == str(seen["size"]) == str(LIMIT_BYTES)
    assert "temporary file" not in "".join(gateway.log)  # nginx warns when it needs the disk
    refused = gateway.post(PREDICT, body(LIMIT_BYTES + 1))
    detail = assert_problem(refused, 413, "picture-too-large")
    assert f"{BackendSettings.max_image_bytes} bytes" in detail


def test_slow_caller_holds_no_thread_of_a_backend(gateway: Gateway, swin_b: Upstream) -> None:
    before = len(swin_b.asked), len(swin_b.open)
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"x")
    time.sleep(0.2)
    assert (len(swin_b.asked), len(swin_b.open)) == before
    connection.send(b"y")
    assert json.load(connection.getresponse())["size"] == 2
    connection.close()


@pytest.mark.parametrize("status", [200, 400, 401, 404, 405, 413, 500, 502, 503, 504])
def test_answers_of_backends_pass_as_they_are_and_cannot_send_the_gateway_elsewhere(
    status: int, gateway: Gateway, swin_b: Upstream
) -> None:
    headers = {"Content-Type": "application/problem+json", "Retry-After": "7"}
    body = os.urandom(3_000_000)
    swin_b.answer_with(status, headers | {"X-Accel-Redirect": "/problem/invalid-request"}, body)
    answer = gateway.post(PREDICT)
    assert (answer.status_code, answer.content) == (status, body)
    assert {name: answer.headers[name] for name in headers} == headers


def test_dead_backend_is_named_and_the_others_answer_until_it_is_back(
    lab: Lab, upstreams: dict[str, Upstream]
) -> None:
    dead = lab.upstream()
    port = dead.server_port
    gateway = lab.gateway({"vgg16": upstreams["vgg16"].url, "swin_b": dead.url})
    assert gateway.get("/model/swin_b").json()["port"] == port
    dead.stop()
    for path in ("/model/swin_b", PREDICT):
        with requests.Session() as session:
            answer = session.post(gateway.url + path, b"x" * 100_000, timeout=10)
            assert session.get(f"{gateway.url}/hello", timeout=10).ok  # on the same connection
        assert "the backend of swin_b" in assert_problem(answer, 502, "backend-unreachable")
        assert gateway.get("/model/vgg16").ok
        assert gateway.entry(answer.headers["X-Request-Id"])["severity"] == "ERROR"
    lab.upstream(port=port)
    assert gateway.get("/model/swin_b").json()["port"] == port


def test_slow_backend_is_named_and_the_others_answer_meanwhile(
    lab: Lab, upstreams: dict[str, Upstream]
) -> None:
    backends = {"vgg16": upstreams["vgg16"].url, "swin_b": lab.upstream(delay_s=5).url}
    gateway = lab.gateway(backends, BACKEND_TIMEOUT_S="0.7")
    started = time.monotonic()
    answer = gateway.get_beside_another("/model/swin_b")
    assert 0.6 < time.monotonic() - started < 4.5
    detail = assert_problem(answer, 504, "backend-timeout")
    assert "the backend of swin_b did not answer in time, 0.7 s at most" in detail


@pytest.mark.parametrize("path", ["/models", "/model/swin_b", PREDICT, "/model/x"])
@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY.lower(), API_KEY[:-1], f"{API_KEY}x"])
def test_without_the_right_key_nothing_but_hello_is_answered(
    path: str, key: str | None, locked: Gateway, swin_b: Upstream
) -> None:
    before = len(swin_b.asked)
    headers = {} if key is None else {"X-API-Key": key}
    answer = locked.get(path, headers)
    assert "X-API-Key" in assert_problem(answer, 401, "invalid-api-key")
    assert answer.headers["WWW-Authenticate"].startswith("ApiKey")
    assert len(swin_b.asked) == before
    assert locked.get("/hello", headers).ok
    assert locked.get("/ready", headers).ok


def test_with_the_right_key_all_is_answered_and_backends_do_not_see_it(locked: Gateway) -> None:
    headers = {"X-API-Key": API_KEY}
    assert locked.get("/models", headers).json() == ["swin_b"]
    assert "x-api-key" not in locked.post(PREDICT, b"x", headers).json()["headers"]
    answer = locked.get("/model/x", headers)
    assert_problem(answer, 404, "unknown-model")
    locked.entry(answer.headers["X-Request-Id"])
    assert API_KEY not in "".join(locked.log)
