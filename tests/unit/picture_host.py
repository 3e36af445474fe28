"""A real server on a loopback address that answers as a test tells it to."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

# Answers the head of a request, and returns whether the connection is kept.
Answer = Callable[[socket.socket, bytes], bool]


def raw(data: bytes, *, is_kept: bool = False, delay_s: float = 0) -> Answer:
    """Return an answer of exactly these bytes, which comes after so many seconds."""

    def send(sock: socket.socket, request: bytes) -> bool:
        time.sleep(delay_s)
        sock.sendall(data)
        return is_kept

    return send


def reply(
    body: bytes = b"picture",
    status: str = "200 OK",
    *headers: str,
    length: bool = True,
    delay_s: float = 0,
) -> Answer:
    """Return an answer with this body; without ``length`` its end is the connection's end."""
    last = f"Content-Length: {len(body)}" if length else "Connection: close"
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, last, "", ""])
    return raw(head.encode(errors="surrogateescape") + body, is_kept=length, delay_s=delay_s)


def redirect(location: str, status: str = "302 Found") -> Answer:
    return reply(b"", status, f"Location: {location}")


def endless(start: bytes, piece: bytes, pause_s: float = 0.02) -> Answer:
    """Return an answer that never ends, a piece at a time."""

    def send(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(start)
        while True:
            sock.sendall(piece)
            time.sleep(pause_s)

    return send


silence = raw(b"", is_kept=True)  # until the other side hangs up


class PictureHost:
    """Gives its answers in turn, and the last one to every request that follows.

    Attributes:
        requests: the heads of the requests that came.
        connections: how many connections came.
        was_cut: set once the other side has closed or reset a connection.
    """

    def __init__(
        self, *answers: Answer, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.was_cut = threading.Event()
        self._tls = tls
        is_ipv6 = ":" in address
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        shown = f"[{address}]" if is_ipv6 else address
        self.origin = f"{'https' if tls else 'http'}://{shown}:{self.port}"
        self._threads = ThreadPoolExecutor(99)
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._threads.submit(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown()
        self._listener.close()

    def url(self, path: str = "/cat.jpg") -> str:
        return self.origin + path

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.add(sock)
                self._threads.submit(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                with self._tls.wrap_socket(sock, server_side=True) if self._tls else sock as stream:
                    self._open.add(stream)
                    for request in _requests(stream):
                        self.requests.append(request)
                        answer = self.answers.pop(0) if self.answers[1:] else self.answers[0]
                        if not answer(stream, request):
                            break
                    else:
                        self.was_cut.set()
            except OSError:  # ssl.SSLError is one
                self.was_cut.set()


def _requests(sock: socket.socket) -> Iterator[bytes]:
    data = b""
    while piece := sock.recv(65536):
        data += piece
        if data.endswith(b"\r\n\r\n"):
            yield data
            data = b""
