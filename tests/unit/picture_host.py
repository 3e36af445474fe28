"""A real server on a loopback address that answers as a test tells it to."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

Answer = Callable[[socket.socket, bytes], bool]


def reply(
    body: bytes = b"picture", status: str = "200 OK", *headers: str, length: bool = True
) -> Answer:
    """Return an answer with this body; without ``length`` its end is the connection's end."""
    lines = [f"HTTP/1.1 {status}", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else ["Connection: close"]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8")

    def send(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(head + body)
        return length

    return send


def redirect(location: str, status: str = "302 Found") -> Answer:
    return reply(b"", status, f"Location: {location}")


def raw(data: bytes) -> Answer:
    """Return an answer of exactly these bytes, after which the connection is closed."""

    def send(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(data)
        return False

    return send


def endless(start: bytes, piece: bytes, pause_s: float = 0.02) -> Answer:
    """Return an answer that never ends, a piece at a time."""

    def send(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(start)
        while True:
            sock.sendall(piece)
            time.sleep(pause_s)

    return send


def silence(sock: socket.socket, request: bytes) -> bool:
    """Say nothing until the other side hangs up."""
    if sock.recv(1):
        raise AssertionError("the request goes on")
    raise ConnectionResetError


def by_path(answers: dict[str, Answer]) -> Answer:
    def send(sock: socket.socket, request: bytes) -> bool:
        return answers[request.split()[1].decode()](sock, request)

    return send


def in_turn(*answers: Answer) -> Answer:
    """Return these answers, one a request."""
    left = iter(answers)

    def send(sock: socket.socket, request: bytes) -> bool:
        return next(left)(sock, request)

    return send


class PictureHost:
    """Answers every request with ``answer``, for as long as the connection is kept.

    Attributes:
        requests: the heads of the requests that came.
        connections: how many connections came.
        was_cut: set once the other side has closed or reset a connection.
    """

    def __init__(
        self, answer: Answer, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self.was_cut = threading.Event()
        self._tls = tls
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://{address}:{self.port}"
        if ":" in address:
            self.origin = f"http://[{address}]:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def url(self, path: str = "/cat.jpg") -> str:
        return self.origin + path

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.add(sock)
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                with self._wrapped(sock) as stream:
                    self._open.add(stream)
                    for request in _requests(stream):
                        self.requests.append(request)
                        if not self.answer(stream, request):
                            break
                    else:
                        self.was_cut.set()
            except OSError:  # ssl.SSLError is one
                self.was_cut.set()

    def _wrapped(self, sock: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(sock, server_side=True) if self._tls else sock


def _requests(sock: socket.socket) -> Iterator[bytes]:
    data = b""
    while piece := sock.recv(65536):
        data += piece
        if data.endswith(b"\r\n\r\n"):
            yield data
            data = b""
