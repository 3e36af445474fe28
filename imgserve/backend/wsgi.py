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

from imgserve.backend.problems import problem_json
from imgserve.contract import PROBLEM_TYPE
from imgserve.errors import InternalError, InvalidRequest

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# CGI's own names for two headers (RFC 3875, 4.1).
UNPREFIXED: Final = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class Body:
    """A request's body, emptied once all of it was read: a picture is in memory once."""

    def __init__(self, data: bytearray) -> None:
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


def base_environ(address: str, own: Any) -> "WSGIEnvironment":
    """Return what all requests of a connection have in common (PEP 3333)."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": str(own[0]),
        "SERVER_PORT": str(own[1]),
        "REMOTE_ADDR": address,
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
    """Add the path and the query of a request's target; refuse one that HTTP does not know."""
    if not url.startswith(b"/") and url != b"*":
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError as exc:
            raise InvalidRequest("the request cannot be read: the target is malformed") from exc
        url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    path, _, query = url.partition(b"#")[0].partition(b"?")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")


class Answer(NamedTuple):
    """What an application answers.

    Attributes:
        head: the status line and the headers, without those of the connection.
        pieces: the body.
        close: tells the application that its answer was sent, or never will be.
    """

    head: bytes
    pieces: Iterator[bytes]
    close: Callable[[], None] = lambda: None


def answer(app: "WSGIApplication", environ: "WSGIEnvironment") -> Answer:
    """Return what an application answers; a fault of its own is logged and answered 500."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        started[:] = status, headers

    try:
        pieces = app(environ, start_response)
        return Answer(_head(*started), iter(pieces), getattr(pieces, "close", Answer.close))
    except Exception:
        log.exception("a request could not be answered")
        error = InternalError("something went wrong on our side: the log says what")
        body = problem_json(error, request_id="")
        headers = [("Content-Type", PROBLEM_TYPE), ("Content-Length", str(len(body)))]
        return Answer(_head("500 Internal Server Error", headers), iter([body]))


def _head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return an answer's head.

    Raises:
        ValueError: it does not say how long the answer is.
    """
    lines = [f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nDate: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    has_length = any(name.lower() == "content-length" for name, _ in headers)
    if not has_length and int(status[:3]) not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        raise ValueError("an answer does not say how long it is")
    return "\r\n".join(lines).encode("latin-1")


@lru_cache(1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
