"""gunicorn's settings for every backend: ``gunicorn --config <this file> backend_v1.app:app``.

One worker, so that one queue, one pool and one set of metrics count all requests; the processes
that compute are the pool's (imgserve/models). Threads: each prediction that is let in holds one
while it is fetched, waits or is computed; a few more refuse what is too much, and the server has
some for /ready and /metrics. Nobody else holds one: an event loop reads and sends.
"""

import os

from gunicorn.workers.base import Worker

from imgserve.backend.app import settings_or_exit
from imgserve.log import logging_config
from imgserve.machine import give_back_large_blocks

settings = settings_or_exit(os.environ, has_models=False)  # the application says which it has


class EventLoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves one application until SIGTERM, then finishes what it has begun."""

    def run(self) -> None:
        import asyncio  # here: by now the application has begun to load the model

        from imgserve.backend.server import serve

        give_back_large_blocks()
        asyncio.run(serve(self))


host = f"[{settings.host}]" if ":" in settings.host else settings.host
bind = [f"{host}:{settings.listen_port}"]
workers = 1
worker_class = EventLoopWorker
threads = settings.threads + settings.max_queue + 4  # which refuse what is too much
# Cloud Run kills a container 10 s after SIGTERM: requests under way have a little less.
graceful_timeout = 8
# Cloud Run takes the CPU from an idle container. A watchdog would take that for a hang, and end
# what has just woken up.
timeout = 0
logconfig_dict = logging_config(settings.log_level)
# gunicorn's sign of life is a file: in memory, since the disk may be read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Nothing but HTTP: gunicorn's own command socket would need a writable disk.
control_socket_disable = True
