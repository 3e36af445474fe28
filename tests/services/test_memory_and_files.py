"""A real backend where memory or files are short.

Callers who are slow, silent or too many attack one in `tools/attack`.
"""

import contextlib
import io
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import requests
from PIL import Image

from imgserve.contract import READY
from tests.services.conftest import GUNICORN, Service, StartBackend, free_port
from tests.unit import pictures
from tests.unit.picture_host import PictureHost, reply

ASK = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


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
    root: Path, weights_dir: Path
) -> None:
    limited = ["bash", "-c", 'ulimit -n 700 && exec "$@"', "bash"]
    environ = {
        "MODEL_NAME": "efficientnet_lite0",
        "WEIGHTS_DIR": str(weights_dir),
        "ALLOWED_ADDRESSES": "127.0.0.0/8",
    }
    port = free_port()
    backend = Service([*limited, *GUNICORN, "backend_v1.app:app"], root, port, environ)
    backend.wait_until()

    def fetch(host: PictureHost) -> int:
        url = f"{backend.url}/predict"
        return requests.post(url, json={"url": host.url()}, timeout=60).status_code

    with contextlib.ExitStack() as stack:
        for _ in range(600):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            caller.sendall(ASK)
        addresses = (f"127.0.1.{number}" for number in range(1, 65))
        answer = reply(pictures.path("chelsea.png").read_bytes(), delay_s=1)
        hosts = [stack.enter_context(PictureHost(answer, address=where)) for where in addresses]
        with ThreadPoolExecutor(64) as callers:
            statuses = Counter(callers.map(fetch, hosts))
    assert set(statuses) <= {200, 503, 504}
    assert statuses[200] > 0
    assert requests.get(backend.url + READY, timeout=10).ok
    assert backend.stop() == 0
    assert not any("Too many open files" in line for line in backend.log)
