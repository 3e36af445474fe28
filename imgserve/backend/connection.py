"""Callers' connections, on the event loop: no thread is taken before a request is whole."""

import asyncio
import math
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple
from wsgiref.types import WSGIEnvironment

from imgserve.backend.admission import Admission
from imgserve.backend.incoming import FRAMING_BYTES, Incoming, RequestReader
from imgserve.backend.problems import REFUSAL
from imgserve.errors import Busy, RequestTimeout

# Deadlines, in seconds. Those of head and body are for all of it.
HEAD_S: Final = 10
BODY_S: Final = 60
STALLED_S: Final = 10  # of a body of which nothing arrives meanwhile
# Longer than a load balancer keeps its idle connections, or it may use one just closed.
IDLE_S: Final = 75
SENDING_S: Final = 60  # for a caller to take a long answer
# For a caller to read the answer to a request that it has not finished sending: closed at once, the
# connection would be reset, and the answer with it. Without a byte, and in all.
LINGER_S: Final = 5
LINGER_IN_ALL_S: Final = 30
PATIENCE_S: Final = 1.0  # who sends a body for longer gives way where memory is short


class Phase(Enum):
    IDLE = "waits for a request"
    HEAD = "receives a head"
    BODY = "receives a body"
    ANSWERING = "waits for the application"
    SENDING = "waits for the caller to take more of an answer"
    LINGERING = "drops what still comes, until the caller closes"


class Answer(NamedTuple):
    head: bytes  # the status line and the headers, without those of the connection
    pieces: Iterator[bytes]  # the body
    close: Callable[[], None] = lambda: None  # says that it was sent, or never will be


Respond = Callable[[WSGIEnvironment, Callable[[Answer], None]], None]


class Connections:
    """All connections of a server, ``most`` at once; ``respond`` has a request answered."""

    def __init__(self, admission: Admission, most: int, respond: Respond) -> None:
        self.admission = admission
        self.respond = respond
        self.now_s: Callable[[], float] = asyncio.get_running_loop().time
        self.is_stopping = False
        self._most = most
        # By the caller's address, those first that have done nothing new for longest.
        self._callers: dict[str, dict[Connection, None]] = {}

    @property
    def all(self) -> "list[Connection]":
        return [one for theirs in self._callers.values() for one in theirs]

    def place(self, connection: "Connection") -> None:
        """Put a connection behind the others of its caller: it does something new."""
        theirs = self._callers.setdefault(connection.address, {})
        theirs.pop(connection, None)
        theirs[connection] = None

    def remove(self, connection: "Connection") -> None:
        theirs = self._callers.get(connection.address, {})
        theirs.pop(connection, None)
        if not theirs:
            self._callers.pop(connection.address, None)

    def limit(self, newest: "Connection") -> None:
        """Where there are too many, close one that is not being answered.

        It is one of the caller who has most. There is no limit for a caller alone: behind a proxy,
        many people have one address.
        """
        if sum(map(len, self._callers.values())) <= self._most:
            return
        most = max(self._callers.values(), key=len)
        idle = (one for one in most if one.phase is Phase.IDLE and one is not newest)
        waiting = (one for one in most if one.phase is not Phase.ANSWERING)
        leaving = next(idle, None) or next(waiting, newest)
        self.remove(leaving)
        leaving.close()

    def make_room(self) -> None:
        """Refuse the body that has been coming in for longest, if that is long."""
        sending = [one for one in self.all if one.phase is Phase.BODY]
        slowest = min(sending, key=lambda one: one.began_s, default=None)
        if slowest and slowest.began_s < self.now_s() - PATIENCE_S:
            slowest.refuse(Busy("memory is short: send the picture again, and faster if you can"))

    def sweep(self) -> None:
        now_s = self.now_s()
        for connection in self.all:
            if connection.deadline_s < now_s:
                connection.expire()

    def postpone(self, seconds: float) -> None:
        """Give all connections the time that passed while nothing could be done here."""
        for connection in self.all:
            connection.deadline_s += seconds
            connection.began_s += seconds


class Connection(asyncio.Protocol):
    """Reads requests, has them answered one after the other, and keeps to its deadlines."""

    def __init__(self, connections: Connections) -> None:
        self.phase = Phase.IDLE
        self.address = ""  # the caller's
        self.began_s = 0.0  # when the phase did
        self.deadline_s = math.inf  # when to expire
        self._connections = connections
        self._request: Incoming | None = None  # the one that is being answered
        self._answer: Answer | None = None  # what is being sent
        self._has_ended = False  # the caller sends no more
        self._early = bytearray()
        self._dropped_bytes = 0

    # --- what asyncio calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  of a TCP connection
        self._transport = transport
        transport.set_write_buffer_limits(0)  # what was written is with the system, or holds all up
        self.address = transport.get_extra_info("peername")[0]
        self._reader = RequestReader(
            transport, self._connections.admission, self._connections.make_room
        )
        self._enter(Phase.IDLE, HEAD_S)
        self._connections.limit(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Let go what is held here; an answer that is still to come will find nobody."""
        self._connections.remove(self)
        self._reader.close()
        self._end_answer()

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.LINGERING or (self._request and self._is_last):
            self._drop(len(data))
        elif self._request:
            self._early += data
            self._transport.pause_reading()
        else:
            self._reader.feed(data)
            self._advance()

    def eof_received(self) -> bool:
        """Return whether the connection stays open: while its caller may wait for an answer."""
        self._has_ended = True
        return self._request is not None

    def resume_writing(self) -> None:
        if self._answer:
            self._send_rest(self._answer)

    # --- one step after the other ----------------------------------------------------------------

    @property
    def _is_last(self) -> bool:
        """Return whether no request is taken after those that are here."""
        return self._reader.is_last or self._has_ended

    def _advance(self) -> None:
        """Have the first request answered if it is whole, else wait for more of it."""
        requests = self._reader.requests
        if self._request:
            return  # one at a time
        if requests and (requests[0].refusal or requests[0].is_whole):
            self._begin_answer(requests.popleft())
        elif requests:
            phase = Phase.BODY if requests[0].has_head else Phase.HEAD
            if self.phase is not phase:
                self._enter(phase, HEAD_S)
            if phase is Phase.BODY:
                self.deadline_s = min(self._connections.now_s() + STALLED_S, self.began_s + BODY_S)
        elif self._is_last:
            self._end()
        elif self.phase in {Phase.ANSWERING, Phase.SENDING}:
            self._enter(Phase.IDLE, IDLE_S)

    def _begin_answer(self, request: Incoming) -> None:
        environ = request.environ
        if request.refusal:
            environ[REFUSAL] = request.refusal
            environ.pop("CONTENT_LENGTH", None)
        self._reader.is_last |= not request.is_whole
        request.body.seek(0)
        environ["wsgi.input"] = request.body
        self._request = request
        self._enter(Phase.ANSWERING, math.inf)
        self._connections.respond(environ, self.send)

    def send(self, answer: Answer) -> None:
        self._answer = answer
        if self._transport.is_closing():
            self._end_answer()
            return
        self._reader.is_last |= self._connections.is_stopping
        is_end = self._is_last and not self._reader.requests
        kept = b"close" if is_end else b"keep-alive"
        start = next(answer.pieces, b"")
        self._transport.write(b"%b\r\nConnection: %b\r\n\r\n%b" % (answer.head, kept, start))
        self._send_rest(answer)

    def _send_rest(self, answer: Answer) -> None:
        """Send the rest as fast as the caller takes it, then go on."""
        unsent = self._transport.get_write_buffer_size
        while not unsent() and (piece := next(answer.pieces, None)) is not None:
            self._transport.write(piece)
        if unsent():
            if self.phase is not Phase.SENDING:
                self._enter(Phase.SENDING, SENDING_S)
            return
        self._end_answer()
        self._advance()
        if self.phase in {Phase.IDLE, Phase.HEAD, Phase.BODY} and self._early:
            early, self._early = bytes(self._early), bytearray()
            self._transport.resume_reading()
            self.data_received(early)

    def _end_answer(self) -> None:
        if self._answer:
            self._answer.close()
            self._answer = None
        if self._request:
            self._request.held.release()
            self._request = None

    # --- its end ---------------------------------------------------------------------------------

    def expire(self) -> None:
        if self.phase in {Phase.HEAD, Phase.BODY}:
            part = self.phase.name.lower()
            self.refuse(RequestTimeout(f"the request's {part} took too long: send it faster"))
        else:
            self.close()

    def refuse(self, error: Exception) -> None:
        """Answer this error to the request that is on its way in, and take no more."""
        self._reader.refuse(error)
        self._advance()

    def close(self) -> None:
        """Close at once: what the caller has not taken by now is lost."""
        self._transport.abort()

    def _end(self) -> None:
        """Close; where the caller may still send, once it had the time to read the answer."""
        if self._has_ended or (self._reader.current.is_whole and not self._early):
            self.close()
            return
        self._early.clear()
        self._transport.resume_reading()
        self._transport.write_eof()
        self._enter(Phase.LINGERING, LINGER_S)

    def _drop(self, size: int) -> None:
        self._dropped_bytes += size
        if self._dropped_bytes > self._connections.admission.body_bytes + FRAMING_BYTES:
            self.close()
        elif self.phase is Phase.LINGERING:
            lingers_until_s = self._connections.now_s() + LINGER_S
            self.deadline_s = min(lingers_until_s, self.began_s + LINGER_IN_ALL_S)

    def _enter(self, phase: Phase, limit_s: float) -> None:
        self.phase = phase
        self.began_s = self._connections.now_s()
        self.deadline_s = self.began_s + limit_s
        self._connections.place(self)
