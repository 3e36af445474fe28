"""What one caller does to others: a real backend under callers that are slow, silent or many."""

import contextlib
import io
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from imgserve.contract import READY
from tests.services.conftest import GUNICORN, Backend, Service, StartBackend, free_port
from tests.services.gateway_process import Lab, make_lab  # noqa: F401  a fixture
from tests.unit import pictures

CHELSEA = pictures.path("chelsea.png").read_bytes()
ASK = b"GET /hello HTTP/1.1\r\nHost: x\r\n%b\r\n"
UPLOAD = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
)
OUTAGE_S = 5.0  # half of what a silent caller may take


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    """Let this process open as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def backend(start_backend: StartBackend) -> Iterator[Backend]:
    """Return a backend with as many threads as it has by default."""
    backend = start_backend(THREADS="2", MAX_QUEUE="64")
    yield backend
    assert backend.stop() == 0


def connect(port: int, first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(first)
    return connection


@contextlib.contextmanager
def attack(port: int, count: int, first: bytes, drip: bytes, answered: bool) -> Iterator[None]:
    """Hold so many connections that have sent something, and perhaps send a byte at times."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(port, first)) for _ in range(count)]
        for connection in held if answered else ():
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        is_over = threading.Event()

        def send() -> None:
            while not is_over.wait(1):
                for connection in held:
                    with contextlib.suppress(OSError):
                        connection.sendall(drip)

        dripping = threading.Thread(target=send)
        dripping.start()
        yield
        is_over.set()
        dripping.join()


def ask(port: int) -> None:
    """Look whether it is ready, and have a picture classified, thrice, without waiting long."""
    url, headers = f"http://127.0.0.1:{port}", {"Content-Type": "image/png"}
    for _ in range(3):
        assert requests.get(url + READY, timeout=OUTAGE_S).ok
        assert requests.post(f"{url}/predict", CHELSEA, headers=headers, timeout=OUTAGE_S).ok


@pytest.mark.parametrize(
    ("count", "first", "drip", "answered"),
    [
        pytest.param(30, ASK % b"Connection: close\r\n", b"", True, id="30 that do not close"),
        pytest.param(1000, b"", b"", False, id="1,000 silent"),
        pytest.param(80, b"GET /hello HTTP/1.1\r\nA: ", b"b", False, id="80 dripping heads"),
        pytest.param(66, UPLOAD % 10**7, b"b", False, id="66 dripping bodies"),
        pytest.param(66, UPLOAD % 10**7 + bytes(10**6), b"b", False, id="66 that stop halfway"),
        pytest.param(1100, ASK % b"", b"", True, id="1,100 idle"),
    ],
)
def test_a_caller_takes_nothing_from_the_others(
    backend: Backend, count: int, first: bytes, drip: bytes, answered: bool
) -> None:
    with attack(backend.port, count, first, drip, answered), ThreadPoolExecutor() as callers:
        list(callers.map(ask, [backend.port] * 4))


def _refusals(url: str, size: int) -> Counter[tuple[int, bool]]:
    """Return what callers are answered who send more pictures than there is room for."""
    body = CHELSEA + bytes(max(0, size - len(CHELSEA)))

    def ask(_: int) -> tuple[int, bool]:
        headers = {"Content-Type": "image/png"}
        answer = requests.post(url, data=body[:size], headers=headers, timeout=60)
        return answer.status_code, "Retry-After" in answer.headers

    with ThreadPoolExecutor(24) as callers:
        answers = callers.map(ask, range(240))
        assert requests.get(urljoin(url, READY), timeout=10).ok  # meanwhile
        return Counter(answers)


@pytest.mark.parametrize("size", [120_000, 2_000_000, 10_000_000])
def test_a_full_queue_answers_503_to_everyone_also_through_the_gateway(
    start_backend: StartBackend, lab: Lab, size: int
) -> None:
    backend = start_backend("v3.backend.app:app", MAX_QUEUE="0", THREADS="1")
    gateway = lab.gateway({"efficientnet_lite0": backend.url})
    for origin in (backend.url, gateway.url):
        answers = _refusals(f"{origin}/model/efficientnet_lite0/predict", size)
        assert set(answers) <= {(200, False), (422, False), (503, True)}  # 120 kB are half of it
        assert answers[503, True] > 0
    backend.stop()


def test_pictures_that_do_not_fit_into_memory_are_refused_and_the_others_answered(
    start_backend: StartBackend,
) -> None:
    backend = start_backend(PICTURE_MEMORY_MB="64")
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=88)
    headers = {"Content-Type": "image/jpeg"}
    server = max(psutil.Process(backend.process.pid).children(), key=lambda child: child.pid)

    def ask(_: int) -> int:
        answer = requests.post(
            f"{backend.url}/predict", data=file.getvalue(), headers=headers, timeout=60
        )
        return answer.status_code

    before = server.memory_info().rss
    with ThreadPoolExecutor(66) as callers:
        asked = [callers.submit(ask, number) for number in range(66)]
        most = before
        while not all(one.done() for one in asked):
            most = max(most, server.memory_info().rss)
            time.sleep(0.01)
    answers = Counter(one.result() for one in asked)
    assert set(answers) == {200, 503}
    assert answers[200] >= 5
    assert most - before < 64e6 * 1.05 + 120e6  # while they are taken apart and handed over
    backend.stop()


def test_a_low_limit_of_files_ends_neither_fetches_nor_the_server(
    root: Path, weights_dir: Path, tmp_path: Path
) -> None:
    limited = ["bash", "-c", 'ulimit -n 1024 && exec "$@"', "bash"]
    environ = {
        "MODEL_NAME": "efficientnet_lite0",
        "WEIGHTS_DIR": str(weights_dir),
        "ALLOWED_ADDRESSES": "127.0.0.0/8",
    }
    port = free_port()
    backend = Service([*limited, *GUNICORN, "backend_v1.app:app"], root, port, environ)
    backend.wait_until()
    with contextlib.ExitStack() as stack:
        for _ in range(920):
            stack.enter_context(connect(port, ASK % b""))
        statuses = _fetches_at_once(backend.url, 64)
    assert set(statuses) <= {200, 503, 504}
    assert statuses[200] > 0
    assert requests.get(backend.url + READY, timeout=10).ok
    assert backend.stop() == 0
    assert not any("Too many open files" in line for line in backend.log)


def _fetches_at_once(url: str, count: int) -> Counter[int]:
    """Return the statuses of fetches from hosts of their own, each of which takes a while."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CHELSEA)

    def fetch(number: int) -> int:
        address = f"127.0.1.{number}"
        with socket.create_server((address, 0)) as host:
            asked = callers.submit(
                requests.post,
                f"{url}/predict",
                json={"url": f"http://{address}:{host.getsockname()[1]}/a.png"},
                timeout=60,
            )
            host.settimeout(1)
            with contextlib.suppress(TimeoutError):  # it was refused
                connection, _ = host.accept()
                with connection:
                    connection.recv(4096)
                    time.sleep(1)
                    connection.sendall(head + CHELSEA)
            return asked.result().status_code

    with ThreadPoolExecutor(count) as hosts, ThreadPoolExecutor(count) as callers:
        return Counter(hosts.map(fetch, range(1, count + 1)))
