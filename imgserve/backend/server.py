"""The server of a backend: an event loop that reads and sends, and threads that answer.

A request takes a thread once all of it is here. Whoever sends slowly, takes an answer slowly or
keeps a connection open takes nothing from others but a few kilobytes and a file.
"""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from imgserve.backend.admission import Admission, Held
from imgserve.backend.connection import Connection, Phase
from imgserve.backend.problems import REFUSAL
from imgserve.backend.wsgi import Answer, answer
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
TICK_S: Final = 0.25
FROZEN_S: Final = 2.0  # a tick that comes so late
DRAIN_TICK_S: Final = 0.05
ACCEPTED_AT_ONCE: Final = 64  # so that others can be closed before files run out
# Who has been sending for so long gives way where memory is short.
PATIENCE_S: Final = 1.0
# How long a kept connection stays open at the end, for a request that may be on its way.
LAST_REQUEST_S: Final = 2.0


class Server:
    """What all connections share.

    ``app`` is a Flask application whose extension ``admission`` counts what is held; ``threads``
    are those that answer, beside a few for requests that only read.
    """

    def __init__(self, app: Any, threads: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.now_s: Callable[[], float] = self._loop.time
        self.admission: Admission = app.extensions["admission"]
        self.is_stopping = False
        self._most_connections = connection_limit(threads)
        # By the caller's address, those first that have done nothing new for longest.
        self._callers: dict[str, dict[Connection, None]] = {}
        self._app = app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._state_threads = ThreadPoolExecutor(STATE_THREADS, thread_name_prefix="state")

    def answer(self, environ: "WSGIEnvironment", send: Callable[[Answer], None]) -> None:
        """Have a request answered in a thread, and the answer sent from the event loop's."""
        is_about_state = environ["REQUEST_METHOD"] in READS and REFUSAL not in environ
        threads = self._state_threads if is_about_state else self._threads
        in_loop = self._loop.call_soon_threadsafe
        threads.submit(lambda: in_loop(send, answer(self._app, environ)))

    @property
    def connections(self) -> list[Connection]:
        """Return all connections."""
        return [one for theirs in self._callers.values() for one in theirs]

    def place(self, connection: Connection) -> None:
        """Put a connection behind the others of its caller: it does something new."""
        theirs = self._callers.setdefault(connection.address, {})
        theirs.pop(connection, None)
        theirs[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        theirs = self._callers.get(connection.address, {})
        theirs.pop(connection, None)
        if not theirs:
            self._callers.pop(connection.address, None)

    def limit_connections(self, newest: Connection) -> None:
        """Where there are too many, close one that is not being answered.

        It is one of the caller who has most. There is no limit for a caller alone: behind a proxy,
        many people have one address.
        """
        if sum(map(len, self._callers.values())) <= self._most_connections:
            return
        most = max(self._callers.values(), key=len)
        idle = (one for one in most if one.phase is Phase.IDLE and one is not newest)
        waiting = (one for one in most if one.phase is not Phase.ANSWERING)
        leaving = next(idle, None) or next(waiting, newest)
        self.remove(leaving)
        leaving.close()

    def require_room(self, size: int) -> None:
        """Refuse a body of so many bytes if there is no room for it; ``Busy`` says so."""
        self.admission.require_place()
        self._require(lambda: self.admission.fits(size))

    def hold(self, held: Held, size: int) -> None:
        """Account for bytes of a body; ``Busy`` says that there is no room for them."""
        self._require(lambda: held.take(size))

    def _require(self, has_room: Callable[[], bool]) -> None:
        """Make room if need be: the body that has been coming in for longest gives way."""
        if has_room():
            return
        sending = [one for one in self.connections if one.phase is Phase.BODY]
        slowest = min(sending, key=lambda one: one.began_s, default=None)
        if slowest and slowest.began_s < self.now_s() - PATIENCE_S:
            slowest.refuse(Busy("memory is short: send the picture again, and faster if you can"))
        if not has_room():
            raise self.admission.starved()

    def sweep(self) -> None:
        """See to deadlines."""
        now_s = self.now_s()
        for connection in self.connections:
            if connection.deadline_s < now_s:
                connection.expire()

    def postpone(self, seconds: float) -> None:
        """Give all connections the time that passed while nothing could be done here."""
        for connection in self.connections:
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
        while self.connections and self.now_s() < began_s + limit_s:
            if self.now_s() > began_s + LAST_REQUEST_S:
                for connection in self.connections:
                    if connection.phase is Phase.IDLE:
                        connection.close()
            self.sweep()
            await asyncio.sleep(DRAIN_TICK_S)


async def serve(worker: Any) -> None:
    """Serve what one of gunicorn's workers has, until SIGTERM; then finish what was begun."""
    stop, now_s = asyncio.Event(), asyncio.get_running_loop().time
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = Server(worker.wsgi, worker.cfg.threads)
    listeners = [await server.listen(one.sock, worker.cfg.backlog) for one in worker.sockets]
    ticked_s = now_s()
    while worker.alive and not stop.is_set() and worker.ppid == os.getppid():
        passed_s = now_s() - ticked_s
        ticked_s += passed_s
        if passed_s > FROZEN_S:  # as an idle container is on Cloud Run
            server.postpone(passed_s)
        server.sweep()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_S)
    await asyncio.sleep(DRAIN_TICK_S)  # those who have connected already are accepted
    for listener in listeners:
        listener.close()
    await server.drain(worker.cfg.graceful_timeout)


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
