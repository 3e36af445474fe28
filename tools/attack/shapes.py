"""Requests that are none, nearly, or in two ways at once (RFC 9112)."""

import argparse
import socket
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from itertools import product

from imgserve.contract import HELLO, MODEL_PREDICT, PREDICT, PROBLEM_TYPE
from tools.attack.target import Row, backend, tally
from tools.process import LOOPBACK

LINES = (
    *("", "\0", "GET", "GET /hello", "GET  /hello HTTP/1.1", "GET /hello HTTP/9.9"),
    *("GET /hello HTTP/1.1 x", "get /hello HTTP/1.1", "G\x01T /hello HTTP/1.1", "TRACE / HTTP/1.1"),
    *("CONNECT x:80 HTTP/1.1", "GET http://[::1/hello HTTP/1.1", "GET * HTTP/1.1"),
    *("PRI * HTTP/2.0", "GET //elsewhere.example/docs HTTP/1.1"),
    *("GET /hel\xfflo HTTP/1.1", "GET /%00 HTTP/1.1", "GET /%ff HTTP/1.1", "GET /../../x HTTP/1.1"),
    *(f"GET /{'x' * 100_000} HTTP/1.1", "GET /docs//elsewhere.example HTTP/1.1"),
)
HEADERS = (
    *("", "Host: a\r\nHost: b", "Host : x", " Host: x", "Host: x\r\n y: z", "Host: x\r\nA\0B: c"),
    *("Host: x\r\n: no name", "Host: x\r\nno colon", "Host: \xff"),
    f"Host: x\r\nA: {'x' * 200_000}",
    "Host: x\r\n" + "\r\n".join(f"A{number}: b" for number in range(2000)),
)
BODIES = (
    *("Content-Length: -1", "Content-Length: 1e3", "Content-Length: 99999999999999999999"),
    *("Content-Length: 3\r\nContent-Length: 4", "Content-Length: 0x10", "Content-Length: +3"),
    *("Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked"),
    *("Transfer-Encoding: chunked, identity", "Transfer-Encoding: unknown", "Expect: nonsense"),
    *("Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    *("Upgrade: h2c\r\nConnection: Upgrade", "Content-Encoding: gzip\r\nContent-Length: 3"),
)
CHUNKS = (
    *("", "3\r\nabc\r\n0\r\n\r\n", "zz\r\n", "-1\r\n", "ffffffffffffffff\r\nabc", "abc"),
    *("3\r\nabcdef\r\n0\r\n\r\n", "3;ext=\0\r\nabc\r\n0\r\n\r\n", "0\r\nX: y\r\n\r\n"),
    "3\nabc\n0\n\n",
)


def run(given: argparse.Namespace) -> Iterator[Row]:
    """Yield what was answered; a server's fault, silence without end or HTML is a failure."""
    shapes = [*_shapes()][:: 3 if given.quick else 1]
    with backend() as target:
        found = Counter(_answer(target.port, shape) for shape in shapes)
        target.require_alive()
    is_held = not any(name.startswith("WRONG") for name in found)
    what = "lines, headers, lengths, codings"
    yield Row(what, str(len(shapes)), tally(found), "no fault", is_held)


def _shapes() -> Iterator[bytes]:
    for line in LINES:
        yield f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1")
        yield f"{line}\nHost: x\nConnection: close\n\n".encode("latin-1")
    for headers in HEADERS:
        yield f"GET {HELLO} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode("latin-1")
    paths = (PREDICT, MODEL_PREDICT.format(model="x"))
    usual = "Host: x\r\nContent-Type: image/jpeg\r\nConnection: close"
    for path, body, chunk in product(paths, BODIES, CHUNKS):
        yield f"POST {path} HTTP/1.1\r\n{usual}\r\n{body}\r\n\r\n{chunk}".encode("latin-1")


def _answer(port: int, shape: bytes) -> str:
    """Return the status that one shape is answered, or what is wrong with the answer."""
    with socket.create_connection((LOOPBACK, port), timeout=15) as connection:
        try:
            connection.sendall(shape)
            connection.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: connection.recv(65536), b""))
        except TimeoutError:
            return f"WRONG: silence after {shape[:80]!r}"
        except OSError:
            data = b""
    if not data:
        return "closed"
    head = data.partition(b"\r\n\r\n")[0].decode("latin-1")
    status = int(head.split()[1])
    is_problem = status < HTTPStatus.BAD_REQUEST or PROBLEM_TYPE in head
    if status in {500, 502, 504} or not is_problem or "elsewhere" in head:
        return f"WRONG: {status} to {shape[:80]!r}"
    return str(status)
