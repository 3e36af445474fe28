"""gunicorn's settings for every backend: ``gunicorn --config <this file> backend_v1.app:app``.

One worker, so that one queue, one pool and one set of metrics count all requests; the processes
that compute are the pool's (imgserve/models). Threads: each prediction that is let in holds one
while it is read, fetched, waits or is computed; a few more answer /ready and /metrics while the
queue is full, and refuse what is too much.
"""

import os
import socket
import struct
from typing import Any

from gunicorn.glogging import Logger

from imgserve.backend.boot import settings_or_exit
from imgserve.log import logging_config

settings = settings_or_exit(os.environ)

THREADS_FOR_STATE = 8

host = f"[{settings.host}]" if ":" in settings.host else settings.host
bind = [f"{host}:{settings.listen_port}"]
workers = 1
worker_class = "gthread"
threads = settings.threads + settings.max_queue + THREADS_FOR_STATE
# Cloud Run kills a container 10 s after SIGTERM: requests under way have a little less.
graceful_timeout = 8
timeout = 30
# Longer than a load balancer keeps its idle connections, or it may use one just closed.
keepalive = 75
logconfig_dict = logging_config(settings.log_level)
# gunicorn's sign of life is a file: in memory, since the disk may be read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Nothing but HTTP: gunicorn's own command socket would need a writable disk.
control_socket_disable = True

STALLED_S = 10


class ErrorLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's log without its line for each request: the application writes one itself.

    Its level alone would not do: gunicorn collects what the line would say before it asks.
    """

    def access(self, *_: object) -> None:
        """Write nothing."""


logger_class = ErrorLog


def when_ready(server: Any) -> None:
    """Let a connection go that sends nothing for a while: gunicorn would give it a thread for ever.

    Connections inherit the time limit from the socket that listens (socket(7), SO_RCVTIMEO).
    """
    for listener in server.LISTENERS:
        limit = struct.pack("ll", STALLED_S, 0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
