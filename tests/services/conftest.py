"""Real services on loopback for the tests of this folder."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from imgserve.settings import BackendSettings, FrontendSettings
from tests.servers import Files, served
from tests.services.browser import browser, open_page  # noqa: F401  fixtures
from tests.services.compiled_models import compiled
from tests.unit import pictures
from tools.process import GUNICORN, is_free

START_TIMEOUT_S = 120
# Those whose trained weights are packages.
MODELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = cycle(range(21_000 + 1000 * (WORKER % 11), 22_000 + 1000 * (WORKER % 11), 10))


# A developer's own settings must not change what is tested.
SETTINGS = {
    field.name.upper() for kind in (BackendSettings, FrontendSettings) for field in fields(kind)
}
CLEAN = {name: value for name, value in os.environ.items() if name not in SETTINGS}


class PictureHost(NamedTuple):
    """A real web server on loopback with real pictures."""

    origin: str

    def url(self, name: str) -> str:
        """Return the address of a picture."""
        return f"{self.origin}/{name}"


@pytest.fixture(scope="session")
def picture_host() -> Iterator[PictureHost]:
    """Return a host of pictures that is not public."""
    with served(partial(Files, directory=str(pictures.FOLDER))) as origin:
        yield PictureHost(origin)


def free_port() -> int:
    """Return a port that nobody listens on, nor on the few after it.

    Each of pytest-xdist's processes has ports of its own, below those that Linux hands out.
    """
    return next(port for port in PORTS if is_free(port))


@pytest.fixture(scope="session")
def kept_models(root: Path, pytestconfig: pytest.Config) -> Callable[..., Path]:
    """Return a function that returns a folder of compiled models; tests must not change it."""
    return partial(compiled, pytestconfig.cache.mkdir("compiled"), root)


@pytest.fixture(scope="session")
def weights_dir(kept_models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models compiled into it."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copytree(kept_models("fp32", *MODELS), folder / "compiled")
    return folder


@pytest.fixture(scope="session")
def int8_weights_dir(kept_models: Callable[..., Path], weights_dir: Path) -> Path:
    """Return the same folder with the embedded model in int8 beside them."""
    made = kept_models("int8", MODELS[0], "--precision", "int8")
    shutil.copytree(made, weights_dir / "compiled", dirs_exist_ok=True)
    return weights_dir


class Service:
    """A service as a container runs it, whose log is read meanwhile."""

    def __init__(
        self, command: Sequence[str], root: Path, port: int, environ: Mapping[str, str]
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**CLEAN, "HOST": "127.0.0.1", "PORT": str(port), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
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

    def stop(self, timeout_s: float = 15) -> int:
        """Stop it as Cloud Run does; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self._reader.join()
            if self.process.stdout:
                self.process.stdout.close()
        return status


class Backend(Service):
    """A backend under gunicorn."""


StartBackend = Callable[..., Backend]


@pytest.fixture(scope="session")
def start_backend(root: Path, weights_dir: Path) -> Iterator[StartBackend]:
    """Return a function that starts a backend, by default v1 with the embedded model.

    What comes ``before`` its command runs that.
    """
    started: list[Backend] = []

    def start(
        app: str = "backend_v1.app:app",
        *,
        before: Sequence[str] = (),
        port: int = 0,
        ready: bool = True,
        **environ: Any,
    ) -> Backend:
        given = {
            "MODEL_NAME": "efficientnet_lite0",
            "WEIGHTS_DIR": str(weights_dir),
            "ALLOWED_ADDRESSES": "127.0.0.1/32",
            **environ,
        }
        backend = Backend([*before, *GUNICORN, app], root, port or free_port(), given)
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


class Frontend(Service):
    """A frontend, started as a container starts it."""

    def __init__(self, component: str, root: Path, environ: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "imgserve.frontend", f"{component}/app.py"]
        super().__init__(command, root, free_port(), environ)

    def wait_until(self, path: str = "/_stcore/health") -> None:
        super().wait_until(path)


@pytest.fixture(scope="session")
def frontend(root: Path) -> Iterator[Callable[..., str]]:
    """Return a function that starts a frontend for a backend and returns its address."""
    started: list[Frontend] = []

    def start(backend_url: str, component: str = "frontend_v1", **environ: Any) -> str:
        given = {name: str(environ[name]) for name in environ}
        started.append(Frontend(component, root, {"SERVING_URL": backend_url, **given}))
        started[-1].wait_until()
        return started[-1].url

    yield start
    for server in started:
        server.stop()
