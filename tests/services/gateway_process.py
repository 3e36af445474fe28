"""The real gateway on loopback, and backends behind it that echo."""

import contextlib
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.contract import Problem
from tests.servers import Quiet
from tests.services.conftest import Service, free_port
from tests.unit.waiting import wait_until
from tools.process import GATEWAY

Headers = Mapping[str, str | bytes] | None


class Echo(Quiet):
    """Answers, as JSON, what it was asked; or as the server is told to."""

    protocol_version = "HTTP/1.1"
    server: "Upstream"

    def respond(self) -> None:
        asked = {
            "port": self.server.server_port,
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "size": len(self.rfile.read(int(self.headers.get("Content-Length", 0)))),
        }
        self.server.asked.append(asked)
        time.sleep(self.server.delay_s)
        body = json.dumps(asked).encode() if self.server.body is None else self.server.body
        self.answer(self.server.status, body, **self.server.headers)


class Upstream(http.server.ThreadingHTTPServer):
    """A backend that echoes."""

    daemon_threads = True

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        delay_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__((host, port), Echo)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.delay_s = delay_s
        self.asked: list[dict[str, Any]] = []
        self.open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer_with()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def answer_with(
        self, status: int = 200, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Set what is answered; without a body, what was asked."""
        self.status, self.headers, self.body = status, headers or {}, body

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember each connection."""
        connection, address = super().get_request()
        self.open.append(connection)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """Say nothing: tests break connections."""

    def stop(self) -> None:
        """Stop listening and drop all connections."""
        self.shutdown()
        self.server_close()
        for connection in self.open:
            with contextlib.suppress(OSError):  # already gone
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join()


class Gateway(Service):
    """The gateway as a container runs it."""

    def __init__(self, root: Path, backends: Mapping[str, str], **environ: str) -> None:
        given = ",".join(f"{model}={url}" for model, url in backends.items())
        super().__init__(GATEWAY, root, free_port(), {"BACKENDS": given, **environ})

    def request(
        self, method: str, path: str, data: Any = None, headers: Headers = None
    ) -> requests.Response:
        """Return what it answers."""
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=30)

    def get(self, path: str, headers: Headers = None) -> requests.Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, data: Any = b"x", headers: Headers = None) -> requests.Response:
        return self.request("POST", path, data, headers)

    def entry(self, request_id: str) -> dict[str, Any]:
        """Return what it logs of a request, once it has; an entry is one line of JSON."""
        wait_until(lambda: f'"{request_id}"' in "".join(self.log), timeout_s=5)
        (line,) = (line for line in self.log if f'"{request_id}"' in line)
        return dict(json.loads(line))

    def get_beside_another(self, path: str) -> requests.Response:
        """Return what it answers in the end; meanwhile vgg16 answers."""
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(self.get, path)
            assert self.get("/model/vgg16").ok
            assert not asking.done()
        return asking.result()


def raw(port: int, request: bytes) -> tuple[int, Message, bytes]:
    """Return status, headers and body of the answer to bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


class Lab(contextlib.ExitStack):
    """Starts gateways and backends that echo, and stops them at its end."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def upstream(self, **options: Any) -> Upstream:
        """Return a new backend."""
        upstream = Upstream(**options)
        self.callback(upstream.stop)
        return upstream

    def gateway(self, backends: Mapping[str, str], **environ: str) -> Gateway:
        """Return a new gateway once it is ready."""
        gateway = Gateway(self.root, backends, **environ)
        self.callback(gateway.stop)
        gateway.wait_until("/ready")
        return gateway


@pytest.fixture(scope="module", name="lab")
def make_lab(root: Path) -> Iterator[Lab]:
    """Return a place to start gateways in."""
    with Lab(root) as lab:
        yield lab


def assert_problem(answer: requests.Response, status: int, slug: str) -> str:
    """Assert that an answer is this problem, with the request's id; return its detail."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = Problem(**answer.json())
    assert (problem.type, problem.status) == (f"urn:imgserve:problem:{slug}", status)
    assert problem.title
    assert problem.request_id == answer.headers["X-Request-Id"]
    return problem.detail
