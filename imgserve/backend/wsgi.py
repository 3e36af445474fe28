"""Between HTTP and WSGI: what an application is given, and what it answers, as bytes."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from imgserve.contract import PROBLEM_TYPE, Problem
from imgserve.errors import InternalError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# Why the server refuses a request, for the application to say so: an error among errors.
REFUSAL: Final = "imgserve.refusal"
# What is larger is sent piece by piece, as fast as the caller takes it.
WHOLE_BYTES: Final = 256 * 1024
# CGI's own names for two headers (RFC 3875, 4.1).
UNPREFIXED: Final = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class Body:
    """A request's body, which is forgotten once it was read: a picture is in memory once."""

    def __init__(self, data: bytearray) -> None:
        """Take the data; it is emptied when all of it was read."""
        self._data = data
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes, or all that is left."""
        end = len(self._data) if size < 0 else min(self._at + size, len(self._data))
        with memoryview(self._data) as view:
            piece = bytes(view[self._at : end])
        self._at = end
        if end == len(self._data):
            self._data.clear()
            self._at = 0
        return piece


def base_environ(peer: Any, own: Any) -> "WSGIEnvironment":
    """Return what all requests of a connection have in common (PEP 3333)."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": str(own[0]),
        "SERVER_PORT": str(own[1]),
        "REMOTE_ADDR": str(peer[0]),
        "REMOTE_PORT": str(peer[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        # Of a request that breaks off before it says them.
        "REQUEST_METHOD": "-",
        "PATH_INFO": "-",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }


def add_header(environ: "WSGIEnvironment", name: bytes, value: bytes) -> None:
    """Add a header; one that comes again is joined to the first (RFC 9110, 5.3)."""
    key = _key(name)
    if key is None:
        return
    text = value.decode("latin-1")
    if key in environ:
        text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
    environ[key] = text


@lru_cache(1024)
def _key(name: bytes) -> str | None:
    """Return a header's name in an environ; None for one that would pass for another one's."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in UNPREFIXED else f"HTTP_{key}"


def add_target(environ: "WSGIEnvironment", url: bytes) -> None:
    """Add the path and the query of a request's target.

    Raises:
        ValueError: it is no target that HTTP knows.
    """
    if not url.startswith(b"/"):
        url = _path_of(url)
    path, _, query = url.partition(b"#")[0].partition(b"?")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")


def _path_of(url: bytes) -> bytes:
    if url == b"*":
        return url
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as exc:
        raise ValueError("the target is malformed") from exc
    return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")


class Answer(NamedTuple):
    """What an application answers.

    Attributes:
        head: the status line and the headers, without those of the connection.
        start: the body, or where there is much of it, its first pieces.
        rest: the pieces after them.
        close: tells the application that its answer was sent, or never will be.
    """

    head: bytes
    start: bytes
    rest: Iterator[bytes] = iter(())
    close: Callable[[], None] = lambda: None


def answer(app: "WSGIApplication", environ: "WSGIEnvironment") -> Answer:
    """Return what an application answers; a fault of its own is logged and answered 500."""
    try:
        return _answer(app, environ)
    except Exception:
        log.exception("a request could not be answered")
        error = InternalError("something went wrong on our side: the log says what")
        body = msgspec.json.encode(
            Problem(error.type_uri, error.title, error.status, str(error), "")
        )
        head = _head("500 Internal Server Error", [("Content-Type", PROBLEM_TYPE)], len(body))
        return Answer(head, body)


def _answer(app: "WSGIApplication", environ: "WSGIEnvironment") -> Answer:
    status, headers = "", list[tuple[str, str]]()

    def start_response(given: str, pairs: list[tuple[str, str]], _: Any = None) -> Any:
        nonlocal status, headers
        status, headers = given, pairs

    iterable = app(environ, start_response)
    close = getattr(iterable, "close", lambda: None)
    try:
        pieces = iter(iterable)
        start, is_all = _first_of(pieces)
        head = _head(status, headers, len(start) if is_all else None)
    except BaseException:
        close()
        raise
    if is_all:
        close()
        return Answer(head, start)
    return Answer(head, start, pieces, close)


def _first_of(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what comes first, and whether it is all."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return b"".join(taken), False
    return b"".join(taken), True


def _head(status: str, headers: list[tuple[str, str]], length: int | None) -> bytes:
    """Return an answer's head, with its length where the application left that open.

    Raises:
        ValueError: it is long, and the application left its length open.
    """
    lines = [f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nDate: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    has_length = any(name.lower() == "content-length" for name, _ in headers)
    if not has_length and int(status[:3]) not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        if length is None:
            raise ValueError("a long answer does not say how long it is")
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode("latin-1")


@lru_cache(1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
