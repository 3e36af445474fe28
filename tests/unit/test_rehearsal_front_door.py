"""The addresses of services: who gets in, and what arrives."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tools.rehearsal.front_door import FrontDoor
from tools.rehearsal.store import Store
from tools.rehearsal.tokens import MetadataServers, Tokens, entry_status


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what arrived."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/silent":
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(0.5)
        answer = f"{self.path}\n{self.headers}\n{len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def container() -> Iterator[int]:
    """Return the port of a server that stands for a container."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def door() -> Iterator[FrontDoor]:
    """Return a front door that lets nobody into the service `private`."""
    made = FrontDoor(lambda service, _: 403 if service == "private" else 200)
    yield made
    made.close()


def post(url: str, body: bytes = b"", **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, data=body, headers=headers, timeout=30)


def test_a_request_arrives_whole_and_says_who_asked(door: FrontDoor, container: int) -> None:
    door.lead("hello", {"": container})
    got = post(f"{door.url('hello')}/a?b=c", bytes(3_000_000), **{"X-Forwarded-For": "192.0.2.1"})
    path, headers, length = got.text.partition("\n")[0], got.text, got.text.rpartition("\n")[2]
    assert (got.status_code, path, length) == (200, "/a?b=c", "3000000")
    assert "X-Forwarded-For: 192.0.2.1, 127.0.0.1\n" in headers
    assert "X-Forwarded-Proto: http\n" in headers
    assert "X-Cloud-Trace-Context: " in headers
    assert "Connection: close\n" in headers


def test_an_address_stays_when_the_traffic_changes(door: FrontDoor, container: int) -> None:
    url = door.url("hello")
    assert post(url).status_code == 503
    door.lead("hello", {"": container, "candidate": container})
    assert door.url("hello") == url != door.url("hello", "candidate")
    assert post(door.url("hello", "candidate")).status_code == 200
    door.lead("hello", {"": container})
    assert post(door.url("hello", "candidate")).status_code == 503


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 404), ("/_ah/x", 404), ("/eventlog", 404), ("/silent", 503)]
)
def test_what_google_would_not_pass_on_is_answered_here(
    door: FrontDoor, container: int, path: str, status: int
) -> None:
    door.lead("hello", {"": container})
    assert post(door.url("hello") + path).status_code == status


def test_a_body_over_the_limit_is_refused(door: FrontDoor, container: int) -> None:
    door.lead("hello", {"": container})
    length = str(32 * 2**20 + 1)
    assert post(door.url("hello"), b"", **{"Content-Length": length}).status_code == 413


def test_whom_the_service_keeps_out_is_answered_even_with_a_large_body(
    door: FrontDoor, container: int
) -> None:
    door.lead("private", {"": container})
    assert post(door.url("private"), bytes(1_000_000)).status_code == 403


def test_an_upgraded_connection_passes_bytes_both_ways(door: FrontDoor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door.lead("hello", {"": server.getsockname()[1]})
        address = ("127.0.0.1", int(door.url("hello").rpartition(":")[2]))
        with socket.create_connection(address) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            container, _ = server.accept()
            with container:
                assert b"Connection: Upgrade\r\n" in container.recv(9999)
                for text in (b"one", b"two"):
                    container.sendall(text)
                    assert caller.recv(9) == text
                    caller.sendall(text)
                    assert container.recv(9) == text


def test_a_container_may_end_once_it_has_answered(door: FrontDoor, container: int) -> None:
    door.lead("hello", {"": container})
    door.url("hello")
    asked = threading.Thread(target=post, args=(f"{door.url('hello')}/slow",))
    asked.start()
    time.sleep(0.2)
    began = time.monotonic()
    door.drain(container, 10)
    assert 0.1 < time.monotonic() - began < 10
    asked.join()


EMAIL = "runner@a-project.iam.gserviceaccount.com"
URL = "http://127.0.0.1:1"


@pytest.fixture
def store() -> Store:
    """Return the memory of a project with a private service."""
    made = Store("a-project")
    made.put("services", "hello", {"status": {"url": URL}})
    return made


def invite(store: Store, member: str) -> None:
    binding = {"role": "roles/run.invoker", "members": [member]}
    store.set_policy("services/hello", {"bindings": [binding]})


def test_a_service_is_private_until_everybody_is_invited(store: Store) -> None:
    assert entry_status(store, Tokens(), "hello", "") == 403
    invite(store, "allUsers")
    assert entry_status(store, Tokens(), "hello", "") == 200


def test_a_token_of_somebody_invited_opens_its_own_service_alone(store: Store) -> None:
    tokens = Tokens()
    mine = f"Bearer {tokens.id_token(EMAIL, URL)}"
    assert entry_status(store, tokens, "hello", mine) == 403
    invite(store, f"serviceAccount:{EMAIL}")
    assert entry_status(store, tokens, "hello", mine) == 200
    for wrong in (tokens.id_token(EMAIL, "https://b"), Tokens().id_token(EMAIL, URL), "x", "é.é.é"):
        assert entry_status(store, tokens, "hello", f"Bearer {wrong}") == 401


def test_a_token_that_is_over_opens_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens()
    invite(store, f"serviceAccount:{EMAIL}")
    token = f"Bearer {tokens.id_token(EMAIL, URL)}"
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    assert entry_status(store, tokens, "hello", token) == 401


def test_the_metadata_server_tells_a_container_who_it_is() -> None:
    tokens = Tokens()
    servers = MetadataServers(tokens)
    where = f"http://127.0.0.1:{servers.port(EMAIL)}"
    assert servers.port(EMAIL) == servers.port(EMAIL) != servers.port("other")
    own = f"{where}/computeMetadata/v1/instance/service-accounts/default"
    with requests.Session() as http_session:
        http_session.trust_env = False
        assert http_session.get(f"{own}/email", timeout=30).status_code == 403
        http_session.headers["Metadata-Flavor"] = "Google"
        token = http_session.get(f"{own}/identity", params={"audience": URL}, timeout=30)
    servers.close()
    claims = tokens.claims(token.text)
    assert claims
    assert (claims["aud"], claims["email"]) == (URL, EMAIL)
    assert token.headers["Metadata-Flavor"] == "Google"
