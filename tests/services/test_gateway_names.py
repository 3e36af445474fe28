"""The real gateway before backends that have names and certificates, as on Cloud Run."""

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.services.conftest import free_port
from tests.services.gateway_process import (
    NameServer,
    StartGateway,
    StartUpstream,
    Upstream,
    assert_problem,
    gateways,  # noqa: F401  a fixture
    upstreams,  # noqa: F401  a fixture
)


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    """Return a name server that knows no names yet."""
    server = NameServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a certificate for backend.test and of its key."""
    path = tmp_path_factory.mktemp("tls") / "backend.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=backend.test", "-addext", "subjectAltName=DNS:backend.test"]
    subprocess.run([*command, "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


@pytest.fixture
def names_asked_for() -> list[str | None]:
    """Return the names that callers asked for before they spoke HTTP."""
    return []


@pytest.fixture
def secure(
    start_upstream: StartUpstream,
    certificate: Path,
    names_asked_for: list[str | None],
) -> Upstream:
    """Return a backend that speaks https."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.sni_callback = lambda _socket, name, _context: names_asked_for.append(name)
    return start_upstream(tls=tls)


def address_seen(url: str) -> str:
    """Return the address of the backend that answered."""
    return str(requests.get(url, timeout=10).json()["address"])


def test_name_that_moves_is_followed_without_a_restart(
    start_gateway: StartGateway,
    start_upstream: StartUpstream,
    name_server: NameServer,
) -> None:
    port = free_port()
    for host in ("127.0.0.1", "127.0.0.2"):
        start_upstream(host=host, port=port)
    name_server.names["backend.test"] = "127.0.0.1"
    backends = {"swin_b": f"http://backend.test:{port}"}
    gateway = start_gateway(backends, RESOLVER=name_server.address)
    url = f"{gateway.url}/model/swin_b"
    answer = requests.get(url, timeout=10).json()
    assert (answer["address"], answer["headers"]["host"]) == ("127.0.0.1", f"backend.test:{port}")
    name_server.names["backend.test"] = "127.0.0.2"
    deadline = time.monotonic() + 10
    while address_seen(url) != "127.0.0.2" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert address_seen(url) == "127.0.0.2"


def test_name_that_nobody_knows_yet_keeps_only_its_own_model_away(
    start_gateway: StartGateway,
    start_upstream: StartUpstream,
    name_server: NameServer,
) -> None:
    upstream = start_upstream()
    backends = {"swin_b": f"http://later.test:{upstream.port}", "vgg16": upstream.url}
    gateway = start_gateway(backends, RESOLVER=name_server.address)
    url = f"{gateway.url}/model/swin_b"
    answer = requests.get(url, timeout=10)
    assert "the backend of swin_b" in assert_problem(answer, 502, "backend-unreachable")
    assert requests.get(f"{gateway.url}/model/vgg16", timeout=10).ok
    name_server.names["later.test"] = "127.0.0.1"
    deadline = time.monotonic() + 10
    while not requests.get(url, timeout=10).ok and time.monotonic() < deadline:
        time.sleep(0.1)
    assert requests.get(url, timeout=10).ok


def test_name_server_that_does_not_answer_keeps_only_its_names_away(
    start_gateway: StartGateway,
    start_upstream: StartUpstream,
) -> None:
    backends = {"swin_b": "http://backend.test", "vgg16": start_upstream().url}
    gateway = start_gateway(backends, RESOLVER=f"127.0.0.1:{free_port()}")
    answers: list[requests.Response] = []
    url = f"{gateway.url}/model/swin_b"
    asking = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=20)))
    asking.start()
    assert requests.get(f"{gateway.url}/model/vgg16", timeout=10).ok
    asking.join()
    assert_problem(answers[0], 502, "backend-unreachable")


def test_https_backend_is_asked_for_by_its_name_and_must_prove_it(
    start_gateway: StartGateway,
    secure: Upstream,
    certificate: Path,
    name_server: NameServer,
    names_asked_for: list[str | None],
) -> None:
    name_server.names |= {"backend.test": "127.0.0.1", "impostor.test": "127.0.0.1"}
    gateway = start_gateway(
        {
            "swin_b": f"https://backend.test:{secure.port}",
            "vgg16": f"https://impostor.test:{secure.port}",
        },
        RESOLVER=name_server.address,
        SSL_CERT_FILE=str(certificate),
    )
    answer = requests.post(f"{gateway.url}/model/swin_b/predict", b"x" * 100_000, timeout=10)
    assert answer.json()["size"] == 100_000
    assert answer.json()["headers"]["host"] == f"backend.test:{secure.port}"
    assert names_asked_for == ["backend.test"]
    answer = requests.get(f"{gateway.url}/model/vgg16", timeout=10)
    assert "the backend of vgg16" in assert_problem(answer, 502, "backend-unreachable")


def test_https_backend_with_a_certificate_of_nobody_is_not_believed(
    start_gateway: StartGateway,
    secure: Upstream,
    name_server: NameServer,
) -> None:
    name_server.names["backend.test"] = "127.0.0.1"
    backends = {"swin_b": f"https://backend.test:{secure.port}"}
    gateway = start_gateway(backends, RESOLVER=name_server.address)
    answer = requests.get(f"{gateway.url}/model/swin_b", timeout=10)
    assert_problem(answer, 502, "backend-unreachable")
    assert secure.asked == []
