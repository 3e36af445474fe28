"""The real gateway on loopback, and what stands behind it: backends that echo, a name server."""

import contextlib
import http.server
import json
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.contract import Problem
from tests.services.conftest import Service, free_port

Headers = Mapping[str, str | bytes] | None
SERVE = (sys.executable, "-m", "v3.gateway", "serve")


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers, as JSON, what it was asked; or as the server is told to."""

    protocol_version = "HTTP/1.1"
    server: "Upstream"

    def do_GET(self) -> None:
        asked = {
            "port": self.server.server_port,
            "address": self.server.server_address[0],
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "size": self._read_body(),
        }
        self.server.asked.append(asked)
        time.sleep(self.server.delay_s)
        body = json.dumps(asked).encode() if self.server.body is None else self.server.body
        self.send_response(self.server.status)
        for name, value in {**self.server.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  the standard library's name

    def _read_body(self) -> int:
        """Read the body, also one in chunks; return its size."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        total = 0
        while size := int(self.rfile.readline(), 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return total

    def log_message(self, *_: object) -> None:
        """Say nothing."""


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


class NameServer(socketserver.UDPServer):
    """A DNS server on loopback: addresses can change, and are valid for a second."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Lookup)
        self.names: dict[str, str] = {}
        self.address = f"127.0.0.1:{self.server_address[1]}"


class Lookup(socketserver.BaseRequestHandler):
    """Answers a question of one name (RFC 1035, 4.1)."""

    server: NameServer

    def handle(self) -> None:
        query, connection = self.request
        question = query[12:]
        # Between labels stands the length of the next, which is no letter.
        name = re.sub(rb"[\0-\x1f]", b".", question[1:-5]).decode().lower()
        address = self.server.names.get(name)
        answer = b""
        if address and question[-4:-2] == b"\0\1":  # version 4 is asked for
            # The name of the question, type A, class IN, one second, four bytes.
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        flags = b"\x81\x80" if address else b"\x81\x83"  # no such name
        counts = b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0"
        connection.sendto(query[:2] + flags + counts + question + answer, self.client_address)


class Gateway(Service):
    """The gateway as a container runs it."""

    def __init__(self, root: Path, backends: Mapping[str, str], **environ: str) -> None:
        given = ",".join(f"{model}={url}" for model, url in backends.items())
        super().__init__(SERVE, root, free_port(), {"BACKENDS": given, **environ})

    def get(self, path: str, headers: Headers = None) -> requests.Response:
        """Return what it answers to GET."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, data: Any = b"x", headers: Headers = None) -> requests.Response:
        """Return what it answers to POST."""
        return self.request("POST", path, data, headers)

    def request(
        self, method: str, path: str, data: Any = None, headers: Headers = None
    ) -> requests.Response:
        """Return what it answers."""
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=30)

    def entry(self, request_id: str) -> dict[str, Any]:
        """Return what it logs of a request, once it has; an entry is one line of JSON."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for line in self.log:
                if line.startswith("{") and (entry := json.loads(line))["request_id"] == request_id:
                    return dict(entry)
            time.sleep(0.02)
        raise AssertionError(f"nothing logged of {request_id}:\n{''.join(self.log)}")


def raw(port: int, request: bytes) -> tuple[int, Message, bytes]:
    """Return status, headers and body of the answer to bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


class Lab:
    """Starts gateways and backends that echo, and stops them at its end."""

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self.root = root
        self._stack = stack

    def upstream(self, **options: Any) -> Upstream:
        """Return a new backend."""
        upstream = Upstream(**options)
        self._stack.callback(upstream.stop)
        return upstream

    def gateway(self, backends: Mapping[str, str], **environ: str) -> Gateway:
        """Return a new gateway once it is ready."""
        gateway = Gateway(self.root, backends, **environ)
        self._stack.callback(gateway.stop)
        gateway.wait_until("/ready")
        return gateway


@pytest.fixture(scope="module", name="lab")
def make_lab(root: Path) -> Iterator[Lab]:
    """Return a place to start gateways in."""
    with contextlib.ExitStack() as stack:
        yield Lab(root, stack)


def assert_problem(answer: requests.Response, status: int, slug: str) -> str:
    """Assert that an answer is this problem, with the request's id; return its detail."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = Problem(**answer.json())
    assert (problem.type, problem.status) == (f"urn:imgserve:problem:{slug}", status)
    assert problem.title
    assert problem.request_id == answer.headers["X-Request-Id"]
    return problem.detail
