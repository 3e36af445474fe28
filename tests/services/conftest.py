"""Real services on loopback for the tests of this folder."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.settings import BackendSettings
from tests.services.streamlit_process import browser, frontend, open_page  # noqa: F401  fixtures
from tests.unit import pictures

START_TIMEOUT_S = 120
# Those whose trained weights are packages.
MODELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")


# A developer's own settings must not change what is tested.
SETTINGS = {each.name.upper() for each in fields(BackendSettings)}
CLEAN = {name: value for name, value in os.environ.items() if name not in SETTINGS}


class PictureHost:
    """A real web server on loopback with real pictures."""

    def __init__(self) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

        handler = partial(Quiet, directory=str(pictures.FOLDER))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, name: str) -> str:
        """Return the address of a picture."""
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def picture_host() -> Iterator[PictureHost]:
    """Return a host of pictures that is not public."""
    host = PictureHost()
    yield host
    host.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models compiled into it, by the command that does it."""
    folder = tmp_path_factory.mktemp("weights")
    command = [sys.executable, "-m", "imgserve.compile", *MODELS]
    command += ["--out", str(folder / "compiled")]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def int8_weights_dir(weights_dir: Path) -> Path:
    """Return the same folder with the embedded model in int8 beside them."""
    command = [sys.executable, "-m", "imgserve.compile", MODELS[0], "--precision", "int8"]
    subprocess.run([*command, "--out", str(weights_dir / "compiled")], check=True)
    return weights_dir


class Backend:
    """A backend under gunicorn, as a container runs it."""

    def __init__(self, app: str, root: Path, port: int, environ: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.process = subprocess.Popen(
            [*GUNICORN, app],
            cwd=root,
            env={**CLEAN, "HOST": "127.0.0.1", "PORT": str(port), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.log.append(line)

    def wait_until(self, path: str = "/ready") -> None:
        """Wait until a path answers 200."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(self.url + path, timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{self.url}{path} never answered 200:\n{''.join(self.log)}")

    def stop(self) -> int:
        """Stop the backend as Cloud Run does; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(timeout=15)
        finally:
            self.process.kill()
            self._reader.join()
            if self.process.stdout:
                self.process.stdout.close()
        return status


StartBackend = Callable[..., Backend]


@pytest.fixture(scope="session")
def start_backend(root: Path, weights_dir: Path) -> Iterator[StartBackend]:
    """Return a function that starts a backend, by default v1 with the embedded model."""
    started: list[Backend] = []

    def start(
        app: str = "backend_v1.app:app", *, port: int = 0, ready: bool = True, **environ: Any
    ) -> Backend:
        given = {
            "MODEL_NAME": "efficientnet_lite0",
            "WEIGHTS_DIR": str(weights_dir),
            "ALLOWED_ADDRESSES": "127.0.0.1/32",
            **environ,
        }
        backend = Backend(app, root, port or free_port(), given)
        started.append(backend)
        if ready:
            backend.wait_until("/ready")
        return backend

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture(scope="session")
def backend_v1(start_backend: StartBackend) -> Backend:
    """Return a v1 that takes pictures from loopback; tests leave it running."""
    return start_backend()


@pytest.fixture(scope="session")
def backend_v1_url(backend_v1: Backend) -> str:
    """Return the address of a v1 that takes pictures from loopback."""
    return backend_v1.url
