"""Requests on their way in: what the parser finds, within limits, as WSGI's environ (PEP 3333)."""

import io
import sys
from asyncio import Transport
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

import httptools

from imgserve.backend.admission import Admission, Held
from imgserve.errors import (
    Busy,
    HeadTooLarge,
    InvalidRequest,
    PictureTooLarge,
    UnsupportedTransferEncoding,
)

HEAD_BYTES: Final = 32 * 1024
FRAMING_BYTES: Final = 1024 * 1024  # of a body in chunks: what is not the body itself
PIPELINED: Final = 8  # requests that may be sent ahead of an answer
ENVIRON: Final[dict[str, Any]] = {
    "SCRIPT_NAME": "",
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


@dataclass(eq=False, slots=True)
class Incoming:
    """A request, from its first byte."""

    environ: WSGIEnvironment  # what the application is told of it
    held: Held
    target: bytes = b""
    head_bytes: int = 0
    read_bytes: int = 0
    body_bytes: int = 0
    body: io.BytesIO = field(default_factory=io.BytesIO)
    has_head: bool = False  # the head is complete
    is_whole: bool = False  # all of it is here
    refusal: BaseException | None = None  # what it is answered, whatever else comes

    def refuse(self, error: BaseException) -> None:
        """Answer this error, and keep nothing; the first one counts."""
        self.refusal = self.refusal or error
        self.body = io.BytesIO()
        self.held.release()

    def add_head(self, size: int) -> bool:
        """Count bytes of the head; return whether they are wanted."""
        self.head_bytes += size
        if self.head_bytes > HEAD_BYTES:
            self.refuse(HeadTooLarge(f"the head has more than {HEAD_BYTES} bytes: send less"))
        return self.refusal is None

    def read(self, size: int) -> None:
        """Count bytes as they come: no callback tells of a line without end, or of framing."""
        self.read_bytes += size
        if not self.has_head and self.read_bytes > HEAD_BYTES:
            self.add_head(self.read_bytes)
        elif self.read_bytes - self.body_bytes > HEAD_BYTES + FRAMING_BYTES:
            self.refuse(InvalidRequest("the body comes in too many pieces: send longer ones"))


class RequestReader:
    """Finds requests in what a connection receives; ``make_room`` is for when memory is short."""

    def __init__(
        self, transport: Transport, admission: Admission, make_room: Callable[[], None]
    ) -> None:
        self.requests: deque[Incoming] = deque()  # the last one perhaps not whole yet
        self.is_last = False  # no more are taken, because of what was found
        self._transport = transport
        self._admission = admission
        self._make_room = make_room
        own, theirs = map(transport.get_extra_info, ("sockname", "peername"))
        names = {"SERVER_NAME": own[0], "SERVER_PORT": str(own[1]), "REMOTE_ADDR": theirs[0]}
        self._environ = ENVIRON | names
        self._parser = httptools.HttpRequestParser(self)
        # The last request, which is on its way in or was whole.
        self.current = Incoming({}, Held(admission), is_whole=True)

    def feed(self, data: bytes) -> None:
        before = self.current
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to what is not spoken here: the answer is plain HTTP
            self.is_last = True
        except httptools.HttpParserCallbackError as exc:  # by what a callback raised
            self.refuse(exc.__context__ or exc)
        except httptools.HttpParserError as exc:
            self.refuse(InvalidRequest(f"the request is malformed: {exc}"))
        if self.current is before and not before.is_whole:
            before.read(len(data))

    def refuse(self, error: BaseException) -> None:
        """Refuse the request that is on its way in, or that cannot begin; it is the last."""
        if self.current.is_whole:
            self.on_message_begin()
        self.is_last = True
        self.current.refuse(error)

    def close(self) -> None:
        """Give back what the requests hold."""
        for request in self.requests:
            request.held.release()
        self.requests.clear()

    # --- what the parser calls -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.current = request = Incoming(self._environ.copy(), Held(self._admission))
        if len(self.requests) < PIPELINED and not self.is_last:
            self.requests.append(request)
        else:
            self.is_last = True
            request.refuse(InvalidRequest("too many requests are sent ahead"))

    def on_url(self, target: bytes) -> None:
        if self.current.add_head(len(target)):
            self.current.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but none that follows a body; one that comes again joins the first."""
        request = self.current
        if not request.add_head(len(name) + len(value)) or request.has_head:
            return
        if key := _key(name):
            text, first = value.decode("latin-1"), request.environ.get(key)
            between = "; " if key == "HTTP_COOKIE" else ","  # RFC 9110, 5.3
            request.environ[key] = text if first is None else f"{first}{between}{text}"

    def on_headers_complete(self) -> None:
        """Decide whether the body is wanted."""
        request, environ = self.current, self.current.environ
        request.has_head = True
        version = self._parser.get_http_version()
        environ["REQUEST_METHOD"] = self._parser.get_method().decode("latin-1")
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        _add_target(environ, request.target)
        _check(environ, version)
        length = int(environ.get("CONTENT_LENGTH", 0))
        has_body = length > 0 or "HTTP_TRANSFER_ENCODING" in environ
        is_wanted = has_body and self._has_room(length, self._admission.fits, is_new=True)
        if is_wanted and "HTTP_EXPECT" in environ and len(self.requests) == 1:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        request = self.current
        request.body_bytes += len(piece)
        if not request.refusal and self._has_room(len(piece), request.held.take):
            request.body.write(piece)

    def on_message_complete(self) -> None:
        self.current.is_whole = True
        self.is_last |= not self._parser.should_keep_alive()

    def _has_room(self, size: int, fits: Callable[[int], bool], *, is_new: bool = False) -> bool:
        """Return whether bytes of a body can be taken, once room was made; else refuse them."""
        try:
            self._admission.require_size(max(size, self.current.body_bytes))
            if is_new:
                self._admission.require_place()
            if not fits(size):
                self._make_room()
                if not fits(size):
                    raise self._admission.starved()
        except (Busy, PictureTooLarge) as exc:
            self.current.refuse(exc)
        return self.current.refusal is None


@lru_cache(1024)
def _key(name: bytes) -> str:
    """Return a header's name in an environ; nothing for one that would pass for another one's."""
    if b"_" in name:
        return ""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"  # RFC 3875, 4.1


def _add_target(environ: WSGIEnvironment, url: bytes) -> None:
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


def _check(environ: WSGIEnvironment, version: str) -> None:
    """Refuse what HTTP does not allow although the parser does (RFC 9112, 3.2 and 6.1)."""
    encoding: Any = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if encoding.strip().lower() != "chunked":
        raise UnsupportedTransferEncoding(
            "the only Transfer-Encoding that is known here is chunked: send the body as it is"
        )
    host: Any = environ.get("HTTP_HOST")
    if (host is None and version == "1.1") or (host and "," in host):
        raise InvalidRequest("the request cannot be read: it needs one header Host")
