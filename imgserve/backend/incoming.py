"""Requests on their way in: what the parser finds, within limits."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import httptools

from imgserve.backend.admission import Admission, Held
from imgserve.backend.wsgi import Answer, add_header, add_target
from imgserve.errors import (
    Busy,
    HeadTooLarge,
    InvalidRequest,
    PictureTooLarge,
    UnsupportedTransferEncoding,
)

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

HEAD_BYTES: Final = 32 * 1024
FRAMING_BYTES: Final = 1024 * 1024  # of a body in chunks: what is not the body itself
PIPELINED: Final = 8  # requests that may be sent ahead of an answer


class Host(Protocol):
    """What a connection belongs to: ``Server``, which says more of these."""

    admission: Admission
    is_stopping: bool
    now_s: Callable[[], float]

    def require_room(self, size: int) -> None: ...
    def hold(self, held: Held, size: int) -> None: ...
    def place(self, connection: Any) -> None: ...
    def remove(self, connection: Any) -> None: ...
    def limit_connections(self, newest: Any) -> None: ...
    def answer(self, environ: "WSGIEnvironment", send: Callable[[Answer], None]) -> None: ...


@dataclass(eq=False, slots=True)
class Incoming:
    """A request, from its first byte.

    Attributes:
        environ: what the application is told of it.
        body: what has come of it.
        has_head: whether the head is complete.
        is_whole: whether all of it is here.
        keep_alive: whether the caller wants to keep the connection.
        refusal: what it is answered, whatever else comes.
    """

    environ: "WSGIEnvironment"
    held: Held
    target: bytes = b""
    head_bytes: int = 0
    read_bytes: int = 0
    body_bytes: int = 0
    body: bytearray = field(default_factory=bytearray)
    has_head: bool = False
    is_whole: bool = False
    keep_alive: bool = False
    refusal: BaseException | None = None

    def refuse(self, error: BaseException) -> None:
        """Answer this error, and keep nothing; the first one counts."""
        self.refusal = self.refusal or error
        self.body.clear()
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
    """Finds requests in what a connection receives.

    Attributes:
        current: the last request, which is on its way in or was whole.
        requests: those that were found, the last one perhaps not whole yet. They have ``environ``
            in common.
        is_last: whether no more are taken, because of what was found.
        proceed: tells a caller that waits for it to send the body.
    """

    def __init__(
        self, server: Host, environ: "WSGIEnvironment", proceed: Callable[[], None]
    ) -> None:
        self.requests: deque[Incoming] = deque()
        self.is_last = False
        self._server = server
        self._environ = environ
        self.proceed = proceed
        self._parser = httptools.HttpRequestParser(self)
        self.current = Incoming(environ, Held(server.admission), is_whole=True)

    def feed(self, data: bytes) -> None:
        """Take what was received."""
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
        self.is_last = True
        if self.current.is_whole:
            self.on_message_begin()
        self.current.refuse(error)

    def close(self) -> None:
        """Give back what the requests hold."""
        for request in self.requests:
            request.held.release()
        self.requests.clear()

    # --- what the parser calls -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.current = request = Incoming(self._environ.copy(), Held(self._server.admission))
        if len(self.requests) < PIPELINED:
            self.requests.append(request)
        else:
            self.is_last = True
            request.refuse(InvalidRequest("too many requests are sent ahead"))

    def on_url(self, target: bytes) -> None:
        if self.current.add_head(len(target)):
            self.current.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that follow a body are left aside."""
        request = self.current
        if request.add_head(len(name) + len(value)) and not request.has_head:
            add_header(request.environ, name, value)

    def on_headers_complete(self) -> None:
        """Decide whether the body is wanted."""
        request, environ = self.current, self.current.environ
        request.has_head = True
        request.keep_alive = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        environ["REQUEST_METHOD"] = self._parser.get_method().decode("latin-1")
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        add_target(environ, request.target)
        _check(environ, version)
        try:
            self._require_room(environ)
        except (Busy, PictureTooLarge) as exc:
            request.refuse(exc)

    def on_body(self, piece: bytes) -> None:
        request = self.current
        request.body_bytes += len(piece)
        if request.refusal:
            return
        try:
            self._server.admission.require_size(request.body_bytes)
            self._server.hold(request.held, len(piece))
            request.body += piece
        except (Busy, PictureTooLarge) as exc:
            request.refuse(exc)

    def on_message_complete(self) -> None:
        self.current.is_whole = True

    def _require_room(self, environ: "WSGIEnvironment") -> None:
        """Refuse a body that could not be taken, before it is sent."""
        length = int(environ.get("CONTENT_LENGTH", 0))
        self._server.admission.require_size(length)
        if length or "HTTP_TRANSFER_ENCODING" in environ:
            self._server.require_room(length)
            if "HTTP_EXPECT" in environ and len(self.requests) == 1:
                self.proceed()


def _check(environ: "WSGIEnvironment", version: str) -> None:
    """Refuse what HTTP does not allow although the parser does (RFC 9112, 3.2 and 6.1)."""
    encoding: Any = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if encoding.strip().lower() != "chunked":
        raise UnsupportedTransferEncoding(
            "the only Transfer-Encoding that is known here is chunked: send the body as it is"
        )
    host: Any = environ.get("HTTP_HOST")
    if (host is None and version == "1.1") or (host and "," in host):
        raise InvalidRequest("the request cannot be read: it needs one header Host")
