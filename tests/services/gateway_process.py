"""The real gateway on loopback, and what stands behind it: backends that echo, a name server."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.contract import Problem
from tests.services.conftest import free_port

START_TIMEOUT_S = 30


class Upstream:
    """A web server that answers, as JSON, what it was asked; or as it is told to."""

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.status = 200
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.body: bytes | None = None
        self.delay_s = 0.0
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self._server = _server(self, (host, port), tls)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop listening and drop all connections."""
        self._server.shutdown()
        self._server.drop()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: Upstream, address: tuple[str, int], handler: type) -> None:
        self.open: list[socket.socket] = []
        self.upstream = upstream
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember each connection."""
        connection, address = super().get_request()
        self.open.append(connection)
        self.upstream.connections += 1
        return connection, address

    def handle_error(self, *_: object) -> None:
        """Say nothing: tests break connections."""

    def drop(self) -> None:
        """Close everything."""
        self.server_close()
        for connection in self.open:
            with contextlib.suppress(OSError):  # already gone
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _server(upstream: Upstream, address: tuple[str, int], tls: ssl.SSLContext | None) -> _Server:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            size = sum(map(len, self._pieces()))
            asked = {
                "port": upstream.port,
                "address": self.server.server_address[0],
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "size": size,
            }
            upstream.asked.append(asked)
            time.sleep(upstream.delay_s)
            body = json.dumps(asked).encode() if upstream.body is None else upstream.body
            self.send_response(upstream.status)
            for name, value in upstream.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = handle_any  # noqa: N815

        def _pieces(self) -> list[bytes]:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return [self.rfile.read(int(self.headers.get("Content-Length", 0)))]
            pieces = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return pieces

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(upstream, address, Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    return server


class NameServer:
    """A DNS server on loopback: addresses can change, and are valid for a second."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        names = self.names

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                query, connection = self.request
                connection.sendto(_dns_answer(query, names), self.client_address)

        self._server = socketserver.UDPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _dns_answer(query: bytes, names: Mapping[str, str]) -> bytes:
    """Return the answer to a question of one name (RFC 1035, 4.1)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question = query[12 : at + 5]
    is_ipv4 = question[-4:-2] == b"\0\1"
    address = names.get(".".join(labels).lower())
    code = 0 if address else 3  # no such name
    answer = b""
    if address and is_ipv4:
        # The name of the question, type A, class IN, one second, four bytes.
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
    counts = b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0"
    return query[:2] + bytes([0x81, 0x80 | code]) + counts + question + answer


class Gateway:
    """The gateway as a container runs it."""

    def __init__(self, root: Path, backends: Mapping[str, str], **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = ",".join(f"{model}={url}" for model, url in backends.items())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "v3.gateway", "serve"],
            cwd=root,
            env={
                **os.environ,
                "HOST": "127.0.0.1",
                "PORT": str(self.port),
                "BACKENDS": given,
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.log.append(line)

    def wait_until_up(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                requests.get(f"{self.url}/ready", timeout=5).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"the gateway never answered:\n{''.join(self.log)}")

    def entries(self, path: str) -> list[dict[str, Any]]:
        """Return what it logged of a path, once it has; each entry is one line of JSON."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.log if line.startswith("{")]
            found = [each for each in lines if each["httpRequest"]["requestUrl"] == path]
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"nothing logged of {path}:\n{''.join(self.log)}")

    def stop(self) -> int:
        """Stop it as Cloud Run does; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(timeout=15)
        finally:
            self.process.kill()
            self._reader.join()
            if self.process.stdout:
                self.process.stdout.close()
        return status


def raw(port: int, request: bytes) -> tuple[int, str]:
    """Return the status and the rest of the answer to bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, rest = received.decode(errors="replace").partition("\r\n")
    return int(head.split()[1]), rest


StartUpstream = Callable[..., Upstream]
StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="module", name="start_upstream")
def upstreams() -> Iterator[StartUpstream]:
    """Return a function that starts a backend that echoes."""
    started: list[Upstream] = []

    def start(**options: Any) -> Upstream:
        started.append(Upstream(**options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture(scope="module", name="start_gateway")
def gateways(root: Path) -> Iterator[StartGateway]:
    """Return a function that starts a gateway."""
    started: list[Gateway] = []

    def start(backends: dict[str, str], **environ: str) -> Gateway:
        started.append(Gateway(root, backends, **environ))
        started[-1].wait_until_up()
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


def assert_problem(answer: requests.Response, status: int, slug: str) -> str:
    """Assert that an answer is this problem, with the request's id; return its detail."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    problem = Problem(**answer.json())
    assert (problem.type, problem.status) == (f"urn:imgserve:problem:{slug}", status)
    assert problem.title
    assert problem.request_id == answer.headers["X-Request-Id"]
    return problem.detail
