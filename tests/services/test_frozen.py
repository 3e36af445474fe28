"""Cloud Run takes the CPU from an idle container: what wakes up answers as if nothing had been."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.services.conftest import Frontend, Service, free_port
from tests.services.gateway_process import SERVE
from tests.unit import pictures

# Longer than gunicorn waits for a sign of life by default (30 s).
FROZEN_S = 35
MODEL = "efficientnet_lite0"
PICTURE = pictures.path("coffee.png").read_bytes()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes with all that they started, for a while."""
    trees = [psutil.Process(pid) for pid in pids]
    found = [one for tree in trees for one in (tree, *tree.children(recursive=True))]
    for process in found:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            os.kill(process.pid, signal.SIGCONT)


@pytest.mark.large
def test_each_service_answers_on_a_kept_connection_after_it_was_frozen(
    root: Path, start_backend: Callable[..., Any]
) -> None:
    backend = start_backend("v3.backend.app:app")
    port = free_port()
    gateway = Service(SERVE, root, port, {"BACKENDS": f"{MODEL}={backend.url}"})
    page = Frontend("frontend_v1", root, {"SERVING_URL": backend.url})
    try:
        gateway.wait_until()
        page.wait_until()
        asked = {
            f"{backend.url}/model/{MODEL}/predict": {"files": {"image": PICTURE}},
            f"{gateway.url}/model/{MODEL}/predict": {"files": {"image": PICTURE}},
            f"{page.url}/_stcore/health": {},
        }
        with requests.Session() as session:
            for url, body in asked.items():
                assert session.request("POST" if body else "GET", url, timeout=20, **body).ok
            before = sockets(session)
            with frozen(backend.process.pid, gateway.process.pid, page.process.pid):
                time.sleep(FROZEN_S)
            for _ in range(2):
                for url, body in asked.items():
                    assert session.request("POST" if body else "GET", url, timeout=20, **body).ok
                time.sleep(2)  # gunicorn looks for workers that are silent every second
            assert sockets(session) == before
        log = "".join(backend.log + gateway.log)
        assert "WORKER TIMEOUT" not in log
        assert "ended" not in log
    finally:
        gateway.stop()
        page.stop()


def sockets(session: requests.Session) -> list[Any]:
    """Return the local addresses of a session's connections, by host."""
    manager: Any = session.get_adapter("http://").poolmanager  # type: ignore[attr-defined]
    pools = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118  not a mapping
    kept = [connection for pool in pools for connection in pool.pool.queue if connection]
    return [connection.sock.getsockname() for connection in kept]
