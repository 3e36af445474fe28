"""The real nginx with the configuration made for it: what callers get, what backends see."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.contract import FORM_OVERHEAD_BYTES, Problem
from imgserve.settings import BackendSettings
from tests.services.conftest import free_port
from tests.services.gateway_process import (
    Gateway,
    StartGateway,
    StartUpstream,
    Upstream,
    assert_problem,
    gateways,  # noqa: F401  a fixture
    raw,
    upstreams,  # noqa: F401  a fixture
)
from v3.gateway.backends import read_backends
from v3.gateway.nginx import configuration
from v3.gateway.serve import ConfigurationRefused, check
from v3.gateway.settings import LIST, GatewaySettings
from v3.gateway.system import find_nginx

LIMIT_BYTES = BackendSettings.max_image_bytes + FORM_OVERHEAD_BYTES
API_KEY = "a-Key;with}\"quotes'$and\\more"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def swin_b(start_upstream: StartUpstream) -> Upstream:
    """Return the backend of swin_b."""
    return start_upstream()


@pytest.fixture(scope="module")
def vgg16(start_upstream: StartUpstream) -> Upstream:
    """Return the backend of vgg16."""
    return start_upstream()


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway, swin_b: Upstream, vgg16: Upstream) -> Gateway:
    """Return a gateway before two backends; tests leave it as it is."""
    backends = {"vgg16": vgg16.url, "swin_b": swin_b.url}
    return start_gateway(backends, GOOGLE_CLOUD_PROJECT="a-project")


@pytest.fixture(scope="module")
def locked(start_gateway: StartGateway, swin_b: Upstream) -> Gateway:
    """Return a gateway that asks for a key."""
    return start_gateway({"swin_b": swin_b.url}, API_KEY=API_KEY)


def test_models_are_listed_the_default_first(gateway: Gateway) -> None:
    answer = requests.get(f"{gateway.url}/models", timeout=10)
    assert answer.json() == ["vgg16", "swin_b"]
    assert answer.headers["Content-Type"] == "application/json"
    assert requests.head(f"{gateway.url}/models", timeout=10).status_code == 200


def test_hello_and_ready_are_the_gateways_own(gateway: Gateway) -> None:
    assert requests.get(f"{gateway.url}/hello", timeout=10).json() == "Hello!"
    assert requests.get(f"{gateway.url}/ready", timeout=10).json() == {"status": "ready"}


def test_each_path_reaches_the_backend_of_its_model(
    gateway: Gateway, swin_b: Upstream, vgg16: Upstream
) -> None:
    for model, upstream in (("swin_b", swin_b), ("vgg16", vgg16)):
        seen = requests.get(f"{gateway.url}/model/{model}?a=%2F&b", timeout=10).json()
        assert (seen["port"], seen["method"]) == (upstream.port, "GET")
        assert seen["path"] == f"/model/{model}?a=%2F&b"
        seen = requests.post(f"{gateway.url}/model/{model}/predict", b"abc", timeout=10).json()
        assert (seen["port"], seen["method"], seen["size"]) == (upstream.port, "POST", 3)
        assert seen["path"] == f"/model/{model}/predict"


@pytest.mark.parametrize(
    "path", ["//model//swin_b", "/model/%73win_b", "/x/../model/swin_b", "/model/./swin_b"]
)
def test_backend_sees_the_path_that_was_chosen_by(path: str, gateway: Gateway) -> None:
    request = f"GET {path}?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    status, rest = raw(gateway.port, request.encode())
    assert status == 200
    assert '"path": "/model/swin_b?q"' in rest


def test_backend_sees_its_own_host_and_who_called(gateway: Gateway, swin_b: Upstream) -> None:
    given = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "Content-Type": "image/png",
        "Authorization": "Bearer token",
    }
    url = f"{gateway.url}/model/swin_b/predict"
    seen = requests.post(url, b"abc", headers=given, timeout=10).json()["headers"]
    assert seen["host"] == f"127.0.0.1:{swin_b.port}"
    assert seen["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["content-type"] == "image/png"
    assert seen["authorization"] == "Bearer token"
    assert "connection" not in seen


def test_trace_is_passed_on_and_logged(gateway: Gateway) -> None:
    given = {
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "tracestate": "vendor=1",
        "X-Cloud-Trace-Context": f"{TRACE}/1;o=1",
    }
    url = f"{gateway.url}/model/swin_b"
    seen = requests.get(url, headers=given | {"X-Request-Id": "traced"}, timeout=10).json()
    assert {name: seen["headers"][name.lower()] for name in given} == given
    entry = entry_of(gateway, "/model/swin_b", "traced")
    assert entry["logging.googleapis.com/trace"] == f"projects/a-project/traces/{TRACE}"
    assert entry["logging.googleapis.com/spanId"] == SPAN
    assert entry["logging.googleapis.com/trace_sampled"] is True


@pytest.mark.parametrize(
    ("header", "value", "trace", "sampled"),
    [
        ("traceparent", f"00-{TRACE}-{SPAN}-00", TRACE, False),
        ("traceparent", f"00-{TRACE}-{SPAN}", None, False),
        ("X-Cloud-Trace-Context", f"{TRACE}/12;o=1", TRACE, True),
        ("X-Cloud-Trace-Context", f"{TRACE}/12;o=0", TRACE, False),
        ("X-Cloud-Trace-Context", TRACE, TRACE, False),
        ("X-Cloud-Trace-Context", '"},{"o=1', None, False),
    ],
)
def test_log_names_the_trace_where_there_is_one(
    header: str, value: str, trace: str | None, sampled: bool, gateway: Gateway
) -> None:
    request_id = f"trace-{abs(hash((header, value)))}"
    headers = {header: value, "X-Request-Id": request_id}
    requests.get(f"{gateway.url}/hello", headers=headers, timeout=10)
    entry = entry_of(gateway, "/hello", request_id)
    expected = f"projects/a-project/traces/{trace}" if trace else ""
    assert entry["logging.googleapis.com/trace"] == expected
    assert entry["logging.googleapis.com/trace_sampled"] is sampled


def entry_of(gateway: Gateway, path: str, request_id: str) -> dict[str, Any]:
    """Return the log's entry of one request."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for entry in gateway.entries(path):
            if entry["request_id"] == request_id:
                return entry
        time.sleep(0.02)
    raise AssertionError("".join(gateway.log))


def test_log_is_json_in_cloud_loggings_names_and_holds_no_query(gateway: Gateway) -> None:
    headers = {"User-Agent": 'x"\\\t"', "X-Request-Id": "logged"}
    url = f"{gateway.url}/model/swin_b?url=https://example.com/private"
    requests.get(url, headers=headers, timeout=10)
    entry = entry_of(gateway, "/model/swin_b", "logged")
    assert entry["severity"] == "INFO"
    assert entry["message"] == "GET /model/swin_b 200"
    assert entry["model"] == "swin_b"
    http = entry["httpRequest"]
    assert (http["requestMethod"], http["status"], http["remoteIp"]) == ("GET", 200, "127.0.0.1")
    assert http["userAgent"] == headers["User-Agent"]
    assert re.fullmatch(r"\d+\.\d{3}s", http["latency"])
    assert "private" not in "".join(gateway.log)


@pytest.mark.parametrize("path", ["/model/swin_b", "/hello", "/nothing"])
def test_request_id_of_the_caller_is_kept(path: str, gateway: Gateway) -> None:
    given = {"X-Request-Id": "an.id_of-mine"}
    answer = requests.get(gateway.url + path, headers=given, timeout=10)
    assert answer.headers["X-Request-Id"] == "an.id_of-mine"
    if path == "/model/swin_b":
        assert answer.json()["headers"]["x-request-id"] == "an.id_of-mine"


@pytest.mark.parametrize("given", [None, "", "two words", 'a"b', "$id", "x" * 65, "a,b", "é"])
def test_request_id_is_made_where_there_is_no_good_one(given: str | None, gateway: Gateway) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode("latin-1")}
    answer = requests.get(f"{gateway.url}/model/swin_b", headers=headers, timeout=10)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.json()["headers"]["x-request-id"] == answer.headers["X-Request-Id"]


def test_request_id_of_the_answer_is_one_whatever_the_backend_says(
    gateway: Gateway, swin_b: Upstream
) -> None:
    swin_b.headers = {"X-Request-Id": "another"}
    answer = requests.get(
        f"{gateway.url}/model/swin_b", headers={"X-Request-Id": "mine"}, timeout=10
    )
    swin_b.headers = {}
    assert answer.headers["X-Request-Id"] == "mine"


@pytest.mark.parametrize("path", ["/model/resnet152", "/model/resnet152/predict"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_model_is_named_with_those_there_are(
    path: str, method: str, gateway: Gateway
) -> None:
    answer = requests.request(method, gateway.url + path, timeout=10)
    detail = assert_problem(answer, 404, "unknown-model")
    assert detail == "there is no model 'resnet152' here: choose one of vgg16, swin_b"


@pytest.mark.parametrize("name", ['"', "%0d%0aX:y", "$id", "%24%7Bid%7D", "é", "x" * 500, "'"])
def test_unknown_model_with_a_hostile_name_is_not_repeated(name: str, gateway: Gateway) -> None:
    answer = requests.get(f"{gateway.url}/model/{name}", timeout=10)
    detail = assert_problem(answer, 404, "unknown-model")
    assert detail == "there is no model here: choose one of vgg16, swin_b"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/predict", "/metrics", "/model", "/model/", "/model/swin_b/", "/model/swin_b/x"),
        *("/model/swin_b/predict/", "/models/", "/problem/invalid-request", "/index.html"),
    ],
)
def test_unknown_route_is_told_which_there_are(path: str, gateway: Gateway) -> None:
    detail = assert_problem(requests.get(gateway.url + path, timeout=10), 404, "unknown-route")
    assert "/models, /model/<id>, /model/<id>/predict" in detail


@pytest.mark.parametrize("path", ["/hello", "/ready", "/models"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_wrong_method_is_told_which_are_right(path: str, method: str, gateway: Gateway) -> None:
    answer = requests.request(method, gateway.url + path, timeout=10)
    assert answer.headers["Allow"] == "GET, HEAD"
    assert_problem(answer, 405, "method-not-allowed")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /model/swin_b/predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /model/swin_b/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        # One request to some, two to others.
        b"POST /model/swin_b/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_request_that_is_not_http_is_a_problem_too(request_bytes: bytes, gateway: Gateway) -> None:
    status, rest = raw(gateway.port, request_bytes)
    assert status == 400
    head, _, body = rest.partition("\r\n\r\n")
    problem = Problem(**json.loads(body))
    assert problem.type == "urn:imgserve:problem:invalid-request"
    assert f"X-Request-Id: {problem.request_id}" in head
    assert "Content-Type: application/problem+json" in head


@pytest.mark.parametrize("chunked", [False, True])
def test_picture_at_the_limit_passes(chunked: bool, gateway: Gateway) -> None:
    body = pieces(LIMIT_BYTES) if chunked else b"x" * LIMIT_BYTES
    answer = requests.post(f"{gateway.url}/model/swin_b/predict", data=body, timeout=30)
    assert answer.json()["size"] == LIMIT_BYTES
    assert "temporary file" not in "".join(gateway.log)  # nginx warns when it needs the disk


def test_slow_caller_holds_no_thread_of_a_backend(gateway: Gateway, swin_b: Upstream) -> None:
    before = len(swin_b.asked), swin_b.connections
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.putrequest("POST", "/model/swin_b/predict")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"x")
    time.sleep(0.2)
    assert (len(swin_b.asked), swin_b.connections) == before
    connection.send(b"y")
    assert json.load(connection.getresponse())["size"] == 2
    connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_picture_over_the_limit_is_refused(chunked: bool, gateway: Gateway) -> None:
    body = pieces(LIMIT_BYTES + 1) if chunked else b"x" * (LIMIT_BYTES + 1)
    answer = requests.post(f"{gateway.url}/model/swin_b/predict", data=body, timeout=30)
    detail = assert_problem(answer, 413, "picture-too-large")
    assert f"{BackendSettings.max_image_bytes} bytes" in detail


def pieces(size: int) -> Iterator[bytes]:
    """Yield so many bytes, for a body sent in chunks."""
    for start in range(0, size, 65536):
        yield b"x" * min(65536, size - start)


def test_errors_of_backends_pass_as_they_are(gateway: Gateway, swin_b: Upstream) -> None:
    problem = b'{"type":"urn:imgserve:problem:busy","status":503}'
    expected = {"Content-Type": "application/problem+json", "Retry-After": "7"}
    swin_b.headers, swin_b.body = expected, problem
    try:
        for swin_b.status in (400, 401, 404, 405, 413, 500, 502, 503, 504):
            answer = requests.post(f"{gateway.url}/model/swin_b/predict", b"x", timeout=10)
            assert (answer.status_code, answer.content) == (swin_b.status, problem)
            assert {name: answer.headers[name] for name in expected} == expected
    finally:
        swin_b.headers, swin_b.body, swin_b.status = {}, None, 200


def test_backend_cannot_send_the_gateway_elsewhere(gateway: Gateway, swin_b: Upstream) -> None:
    swin_b.headers = {"X-Accel-Redirect": "/problem/invalid-request"}
    answer = requests.get(f"{gateway.url}/model/swin_b", timeout=10)
    swin_b.headers = {}
    assert answer.status_code == 200
    assert answer.json()["path"] == "/model/swin_b"


def test_large_answer_comes_whole(gateway: Gateway, swin_b: Upstream) -> None:
    swin_b.body = os.urandom(3_000_000)
    answer = requests.get(f"{gateway.url}/model/swin_b", timeout=10)
    expected, swin_b.body = swin_b.body, None
    assert answer.content == expected


def test_answers_do_not_tell_the_version(gateway: Gateway) -> None:
    for path in ("/hello", "/nothing", "/model/swin_b"):
        assert requests.get(gateway.url + path, timeout=10).headers["Server"] == "nginx"


def test_dead_backend_is_named_and_the_others_answer_until_it_is_back(
    start_gateway: StartGateway, start_upstream: StartUpstream, vgg16: Upstream
) -> None:
    dead = start_upstream()
    gateway = start_gateway({"vgg16": vgg16.url, "swin_b": dead.url})
    assert requests.get(f"{gateway.url}/model/swin_b", timeout=10).json()["port"] == dead.port
    dead.stop()
    for path in ("/model/swin_b", "/model/swin_b/predict"):
        with requests.Session() as session:
            answer = session.post(gateway.url + path, b"x" * 100_000, timeout=10)
            assert session.get(f"{gateway.url}/hello", timeout=10).ok  # on the same connection
        assert "the backend of swin_b" in assert_problem(answer, 502, "backend-unreachable")
        assert requests.get(f"{gateway.url}/model/vgg16", timeout=10).ok
        assert entry_of(gateway, path, answer.headers["X-Request-Id"])["severity"] == "ERROR"
    start_upstream(port=dead.port)
    assert requests.get(f"{gateway.url}/model/swin_b", timeout=10).json()["port"] == dead.port


def test_slow_backend_is_named_and_the_others_answer_meanwhile(
    start_gateway: StartGateway, start_upstream: StartUpstream, vgg16: Upstream
) -> None:
    slow = start_upstream()
    slow.delay_s = 5
    backends = {"vgg16": vgg16.url, "swin_b": slow.url}
    gateway = start_gateway(backends, BACKEND_TIMEOUT_S="0.7")
    answers: list[requests.Response] = []
    url = f"{gateway.url}/model/swin_b"
    asking = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=10)))
    started = time.monotonic()
    asking.start()
    assert requests.get(f"{gateway.url}/model/vgg16", timeout=10).ok
    assert asking.is_alive()
    asking.join()
    assert 0.6 < time.monotonic() - started < 4.5
    detail = assert_problem(answers[0], 504, "backend-timeout")
    assert "the backend of swin_b did not answer in time, 0.7 s at most" in detail


def test_connections_to_an_address_are_kept(
    start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    upstream = start_upstream()
    gateway = start_gateway({"swin_b": f"http://localhost:{upstream.port}"})
    for _ in range(5):
        seen = requests.post(f"{gateway.url}/model/swin_b/predict", b"x", timeout=10).json()
        assert seen["headers"]["host"] == f"localhost:{upstream.port}"
    assert upstream.connections == 1


@pytest.mark.parametrize("path", ["/models", "/model/swin_b", "/model/swin_b/predict", "/model/x"])
@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY.lower(), API_KEY[:-1], f"{API_KEY}x"])
def test_without_the_right_key_nothing_but_hello_is_answered(
    path: str, key: str | None, locked: Gateway, swin_b: Upstream
) -> None:
    before = len(swin_b.asked)
    headers = {} if key is None else {"X-API-Key": key}
    answer = requests.get(locked.url + path, headers=headers, timeout=10)
    detail = assert_problem(answer, 401, "invalid-api-key")
    assert "X-API-Key" in detail
    assert answer.headers["WWW-Authenticate"].startswith("ApiKey")
    assert len(swin_b.asked) == before
    assert requests.get(f"{locked.url}/hello", headers=headers, timeout=10).ok
    assert requests.get(f"{locked.url}/ready", headers=headers, timeout=10).ok


def test_with_the_right_key_all_is_answered_and_backends_do_not_see_it(locked: Gateway) -> None:
    headers = {"X-API-Key": API_KEY}
    assert requests.get(f"{locked.url}/models", headers=headers, timeout=10).json() == ["swin_b"]
    url = f"{locked.url}/model/swin_b/predict"
    seen = requests.post(url, b"x", headers=headers, timeout=10).json()
    assert "x-api-key" not in seen["headers"]
    answer = requests.get(f"{locked.url}/model/x", headers=headers, timeout=10)
    assert_problem(answer, 404, "unknown-model")
    entry_of(locked, "/model/x", answer.headers["X-Request-Id"])
    assert API_KEY not in "".join(locked.log)


def test_gateway_told_to_stop_finishes_what_it_has(
    start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    slow = start_upstream()
    slow.delay_s = 1
    gateway = start_gateway({"swin_b": slow.url})
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("GET", "/model/swin_b")
    while not slow.asked:
        time.sleep(0.01)
    assert gateway.stop() == 0
    assert connection.getresponse().status == 200
    connection.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{gateway.url}/hello", timeout=5)


def test_taken_port_stops_the_start_with_what_nginx_says(root: Path, gateway: Gateway) -> None:
    environ = {"HOST": "127.0.0.1", "PORT": str(gateway.port), "BACKENDS": "swin_b=http://a.test"}
    second = subprocess.run(
        [sys.executable, "-m", "v3.gateway", "serve"],
        cwd=root,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode != 0
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_nginx_runs_for_any_user_and_writes_below_one_folder(root: Path, swin_b: Upstream) -> None:
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    port = free_port()
    environ = {"HOST": "127.0.0.1", "PORT": str(port), "BACKENDS": f"swin_b={swin_b.url}"}
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile("w+") as out:
        folder = Path(name)
        if nobody:  # as container runtimes do with the standard streams
            os.chown(folder, 65534, 65534)
            os.chown(out.fileno(), 65534, 65534)
        command = [sys.executable, "-m", "v3.gateway", "nginx", "--folder", name]
        made = subprocess.check_output(command, cwd=root, env={**os.environ, **environ}, text=True)
        config = folder / "nginx.conf"
        config.write_text(made)
        command = [find_nginx(os.environ["PATH"]), "-e", "stderr", "-c", str(config)]
        with subprocess.Popen(command, stdout=out, stderr=out, **nobody) as nginx:  # type: ignore[call-overload]
            answer = patient(f"http://127.0.0.1:{port}/model/swin_b/predict")
            written = {path.name for path in folder.iterdir()}
            nginx.terminate()
        out.seek(0)
        said = out.readlines()
    assert answer.json()["size"] == 2_000_000
    assert written == {"nginx.conf", "nginx.pid"} | {
        *("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    }
    assert len(said) == 1
    assert json.loads(said[0])["httpRequest"]["status"] == 200


def patient(url: str) -> requests.Response:
    """Return the answer to a large upload, once somebody listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return requests.post(url, b"x" * 2_000_000, timeout=10)
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_nginx_is_asked_first_whether_it_takes_the_configuration(tmp_path: Path) -> None:
    settings = GatewaySettings(api_key="x" * 16, resolver=("127.0.0.1",))
    backends = read_backends(LIST, "swin_b=http://127.0.0.1:8001,vgg16=https://a.test")
    config = tmp_path / "nginx.conf"
    config.write_text(configuration(settings, backends, tmp_path))
    nginx = find_nginx(os.environ["PATH"])
    check(nginx, config)
    config.write_text(config.read_text().replace("daemon off;", "daemon maybe;"))
    with pytest.raises(ConfigurationRefused, match="daemon"):
        check(nginx, config)
