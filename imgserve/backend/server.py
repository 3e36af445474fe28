"""The server of a backend: an event loop that reads and sends, and threads that answer.

A request takes a thread once all of it is here. Whoever sends slowly, takes an answer slowly or
keeps a connection open takes nothing from others but a few kilobytes and a file.
"""

import asyncio
import resource
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from imgserve.backend.admission import Admission, Held
from imgserve.backend.connection import Connection, Phase
from imgserve.backend.wsgi import REFUSAL, Answer, answer
from imgserve.errors import Busy
from imgserve.pictures.connection import CONNECTIONS_PER_HOST, HOSTS

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

MOST_CONNECTIONS: Final = 2048  # some 10 MB of memory
# Files that are not for callers: kept connections to hosts of pictures, what a request opens (a
# connection to a host and a look-up), and the rest of the process.
KEPT_FILES: Final = HOSTS * CONNECTIONS_PER_HOST + 64
FILES_A_REQUEST: Final = 2
READS: Final = {"GET", "HEAD"}
STATE_THREADS: Final = 4  # answer /ready and /metrics, however many predictions are refused
DRAIN_TICK_S: Final = 0.05
ACCEPTED_AT_ONCE: Final = 64  # so that others can be closed before files run out
# Who has been sending for so long gives way where memory is short.
PATIENCE_S: Final = 1.0
# How long a kept connection stays open at the end, for a request that may be on its way.
LAST_REQUEST_S: Final = 2.0


class Connections:
    """All connections. Where there are too many, one that is not being answered is closed.

    It is one of the caller who has most. There is no limit for a caller alone: behind a proxy,
    many people have one address.
    """

    def __init__(self, limit: int) -> None:
        self.all: set[Connection] = set()
        self._limit = limit
        # By the caller's address, those that wait longest first.
        self._waiting: dict[str, dict[Connection, None]] = {}

    def add(self, connection: Connection) -> None:
        """Add one that has been placed, and close another one if need be."""
        self.all.add(connection)
        if len(self.all) > self._limit:
            most = max(self._waiting.values(), key=len)
            others = [one for one in most if one is not connection] or [connection]
            idle = (one for one in others if one.phase is Phase.IDLE)
            leaving = next(idle, others[0])
            self._forget(leaving)
            leaving.close()

    def place(self, connection: Connection) -> None:
        """Remember whether a connection is being answered now; if not, it may be closed."""
        self._forget(connection)
        if connection.phase is not Phase.ANSWERING:
            self._waiting.setdefault(connection.address, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget one that is closed."""
        self.all.discard(connection)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        callers = self._waiting.get(connection.address, {})
        callers.pop(connection, None)
        if not callers:
            self._waiting.pop(connection.address, None)


class Server:
    """What all connections share."""

    def __init__(self, app: Any, threads: int) -> None:
        """Begin.

        Args:
            app: the Flask application; its extension ``admission`` counts what is held.
            threads: how many requests are answered at once, beside those that only read.
        """
        self._loop = asyncio.get_running_loop()
        self.now_s: Callable[[], float] = self._loop.time
        self.admission: Admission = app.extensions["admission"]
        self.limit_bytes: int = app.config["MAX_CONTENT_LENGTH"]
        self.connections = Connections(connection_limit(threads))
        self.opened: Callable[[Connection], None] = self.connections.add
        self.moved: Callable[[Connection], None] = self.connections.place
        self.closed: Callable[[Connection], None] = self.connections.remove
        self.is_stopping = False
        self._app = app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._state_threads = ThreadPoolExecutor(STATE_THREADS, thread_name_prefix="state")

    def answer(self, environ: "WSGIEnvironment", send: Callable[[Answer], None]) -> None:
        """Have a request answered in a thread."""
        is_about_state = environ["REQUEST_METHOD"] in READS and REFUSAL not in environ
        threads = self._state_threads if is_about_state else self._threads
        threads.submit(self._answer, environ, send)

    def _answer(self, environ: "WSGIEnvironment", send: Callable[[Answer], None]) -> None:
        self._loop.call_soon_threadsafe(send, answer(self._app, environ))

    def require_room(self, size: int) -> None:
        """Refuse a body of so many bytes if there is no room for it; ``Busy`` says so."""
        self.admission.require_place()
        if not self.admission.fits(size):
            self._end_the_slowest()
            self.admission.require_fit(size)

    def hold(self, held: Held, size: int) -> None:
        """Account for bytes of a body; ``Busy`` says that there is no room for them."""
        if not held.take(size):
            self._end_the_slowest()
            held.require(size)

    def _end_the_slowest(self) -> None:
        """Refuse the body that has been coming in for longest, if it had time enough."""
        sending = [one for one in self.connections.all if one.phase is Phase.BODY]
        slowest = min(sending, key=lambda one: one.began_s, default=None)
        if slowest and slowest.began_s < self.now_s() - PATIENCE_S:
            slowest.refuse(Busy("memory is short: send the picture again, and faster if you can"))

    def sweep(self) -> None:
        """See to deadlines."""
        now_s = self.now_s()
        for connection in [one for one in self.connections.all if one.deadline_s < now_s]:
            connection.expire()

    def postpone(self, seconds: float) -> None:
        """Give all connections the time that passed while nothing could be done here."""
        for connection in self.connections.all:
            connection.deadline_s += seconds
            connection.began_s += seconds

    async def listen(self, listener: socket.socket, backlog: int) -> asyncio.Server:
        """Take connections from a socket."""
        server = await self._loop.create_server(
            lambda: Connection(self), sock=listener, backlog=ACCEPTED_AT_ONCE
        )
        listener.listen(backlog)
        return server

    async def drain(self, limit_s: float) -> None:
        """Answer what is here, and say on each connection that it was the last answer."""
        self.is_stopping = True
        began_s = self.now_s()
        while self.connections.all and self.now_s() < began_s + limit_s:
            if self.now_s() > began_s + LAST_REQUEST_S:
                for connection in [one for one in self.connections.all if one.phase is Phase.IDLE]:
                    connection.close()
            self.sweep()
            await asyncio.sleep(DRAIN_TICK_S)


def connection_limit(requests: int) -> int:
    """Return how many connections leave enough files for so many requests at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system that has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    left = soft - KEPT_FILES - FILES_A_REQUEST * requests
    return max(requests, min(MOST_CONNECTIONS, left))
