"""The server of a backend: an event loop that reads and sends, and threads that answer.

A request takes a thread once all of it is here. Whoever sends slowly, takes an answer slowly or
keeps a connection open takes nothing from others but a few kilobytes and a file.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final
from wsgiref.types import WSGIApplication, WSGIEnvironment

from imgserve.backend.connection import Answer, Connection, Connections, Phase
from imgserve.backend.problems import REFUSAL, problem_json
from imgserve.contract import PROBLEM_TYPE
from imgserve.errors import InternalError
from imgserve.pictures.connection import CONNECTIONS_PER_HOST, HOSTS

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 2048  # some 10 MB of memory
# Files that are not for callers: kept connections to hosts of pictures, what a request opens (a
# connection to a host and a look-up), and the rest of the process.
KEPT_FILES: Final = HOSTS * CONNECTIONS_PER_HOST + 64
FILES_A_REQUEST: Final = 2
STATE_THREADS: Final = 4  # answer /ready and /metrics, however many predictions are refused
TICK_S: Final = 0.25
FROZEN_S: Final = 2.0  # a tick that comes so late
DRAIN_TICK_S: Final = 0.05
ACCEPTED_AT_ONCE: Final = 64  # so that others can be closed before files run out
# How long a kept connection stays open at the end, for a request that may be on its way.
LAST_REQUEST_S: Final = 2.0


async def serve(worker: Any) -> None:
    """Serve what one of gunicorn's workers has, until SIGTERM; then finish what was begun."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    connections = connections_to(worker.wsgi, worker.cfg.threads)
    listeners = [await listen(connections, one.sock, worker.cfg.backlog) for one in worker.sockets]
    ticked_s = loop.time()
    while worker.alive and not stop.is_set() and worker.ppid == os.getppid():
        passed_s = loop.time() - ticked_s
        ticked_s += passed_s
        if passed_s > FROZEN_S:  # as an idle container is on Cloud Run
            connections.postpone(passed_s)
        connections.sweep()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_S)
    await asyncio.sleep(DRAIN_TICK_S)  # those who have connected already are accepted
    for listener in listeners:
        listener.close()
    await drain(connections, worker.cfg.graceful_timeout)


def connections_to(app: Any, threads: int) -> Connections:
    """Return what will be the connections to a Flask application.

    Its extension ``admission`` counts what is held; so many threads answer, beside a few for
    requests that only read.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
    state_pool = ThreadPoolExecutor(STATE_THREADS, thread_name_prefix="state")
    in_loop = asyncio.get_running_loop().call_soon_threadsafe

    def respond(environ: WSGIEnvironment, send: Callable[[Answer], None]) -> None:
        is_about_state = environ["REQUEST_METHOD"] in {"GET", "HEAD"} and REFUSAL not in environ
        chosen = state_pool if is_about_state else pool
        chosen.submit(lambda: in_loop(send, answer(app, environ)))

    return Connections(app.extensions["admission"], connection_limit(threads), respond)


async def listen(connections: Connections, listener: socket.socket, backlog: int) -> asyncio.Server:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(connections), sock=listener, backlog=ACCEPTED_AT_ONCE
    )
    listener.listen(backlog)
    return server


async def drain(connections: Connections, limit_s: float) -> None:
    """Answer what is here, and say on each connection that it was the last answer."""
    connections.is_stopping = True
    began_s = connections.now_s()
    while connections.all and connections.now_s() < began_s + limit_s:
        if connections.now_s() > began_s + LAST_REQUEST_S:
            for connection in connections.all:
                if connection.phase is Phase.IDLE:
                    connection.close()
        connections.sweep()
        await asyncio.sleep(DRAIN_TICK_S)


def answer(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
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
    """Return an answer's head; ValueError where it does not say how long the answer is."""
    lines = [f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nDate: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    has_length = any(name.lower() == "content-length" for name, _ in headers)
    if not has_length and status[:3] not in {"204", "304"}:
        raise ValueError("an answer does not say how long it is")
    return "\r\n".join(lines).encode("latin-1")


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
