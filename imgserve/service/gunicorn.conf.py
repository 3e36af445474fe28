"""gunicorn's settings for every backend: ``gunicorn --config <this file> backend_v1.app:app``.

One worker: a second would hold the model a second time. Threads: each request holds one while it
fetches, waits or computes; a few more answer /ready and /metrics while the queue is full.
"""

import os

from imgserve.log import logging_config
from imgserve.service.start import settings_or_exit

settings = settings_or_exit(os.environ)

THREADS_FOR_STATE = 8

bind = [f"{settings.host}:{settings.listen_port}"]
workers = 1
worker_class = "gthread"
threads = settings.threads + settings.max_queue + THREADS_FOR_STATE
# Cloud Run kills a container 10 s after SIGTERM: requests under way have a little less.
graceful_timeout = 8
timeout = 30
# Longer than a load balancer keeps its idle connections, or it may use one just closed.
keepalive = 75
logconfig_dict = logging_config(settings.log_level)
# Nothing but HTTP: gunicorn's own command socket would need a writable disk.
control_socket_disable = True
