"""Services as a container runs them: real gunicorn, real pictures, over HTTP.

Callers who are slow, silent or too many attack one in `tools/attack`.
"""

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from imgserve.contract import OPENAPI
from imgserve.models.compiled_model import FP32, INT8, read_info
from tests.services.conftest import CLEAN, MODELS, Frontend, Service, StartBackend, free_port
from tests.unit import pictures
from tests.unit.picture_host import PictureHost, reply, silence
from tests.unit.waiting import wait_until
from tools.process import GATEWAY

PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg")
# Room for one of the three at a time: each takes about 50 MB.
TOO_LITTLE_MB = "70"


def test_sigterm_finishes_what_is_under_way_takes_nothing_new_and_ends_whatever_hangs(
    start_backend: StartBackend,
) -> None:
    backend = start_backend(FETCH_TIMEOUT_S="60")
    answer = reply(pictures.path("coffee.png").read_bytes(), delay_s=2)
    with (
        PictureHost(answer) as slow,
        PictureHost(silence) as stuck,
        ThreadPoolExecutor() as callers,
    ):
        under_way, hanging = (
            callers.submit(
                requests.post, f"{backend.url}/predict", json={"url": host.url()}, timeout=60
            )
            for host in (slow, stuck)
        )
        wait_until(lambda: slow.requests and stuck.requests)
        started = time.monotonic()
        backend.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{backend.url}/hello", timeout=5)
        answered = under_way.result().json()
        assert answered["category"] == "espresso"
        assert answered["timings_ms"]["fetch"] >= 2000
        backend.process.wait(timeout=15)
        assert time.monotonic() - started < 10
        with pytest.raises(requests.ConnectionError):
            hanging.result()
    backend.stop()
    assert all("severity" in json.loads(line) for line in backend.log)


def test_while_the_model_is_compiled_it_is_alive_but_not_ready(
    start_backend: StartBackend, tmp_path: Path
) -> None:
    backend = start_backend(ready=False, WEIGHTS_DIR=str(tmp_path), LOAD_WAIT_S="0.1")
    backend.wait_until("/hello")
    state = requests.get(f"{backend.url}/ready", timeout=10)
    assert state.status_code == 503
    assert "still loading" in state.json()["detail"]
    with pictures.path("chelsea.png").open("rb") as picture:
        early = requests.post(f"{backend.url}/predict", files={"image": picture}, timeout=10)
    assert early.status_code == 503
    assert "Retry-After" in early.headers
    backend.wait_until("/ready")
    backend.stop()
    assert any("checking against the original" in line for line in backend.log)


NOPE = {"MODEL_NAME": "", "MODELS": "efficientnet_lite0,nope"}


@pytest.mark.parametrize(
    ("app", "environ", "said"),
    [
        pytest.param("backend_v1", {"PORT": "70000"}, "PORT='70000'", id="by gunicorn's file"),
        pytest.param("backend_v1", NOPE, "no model 'nope'", id="by v1"),
        pytest.param("backend_v2", NOPE, "no model 'nope'", id="by v2"),
        pytest.param("v3.backend", {"MODEL_NAME": ""}, "MODEL_NAME is not set", id="by v3"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named(
    start_backend: StartBackend, app: str, environ: dict[str, str], said: str
) -> None:
    backend = start_backend(f"{app}.app:app", ready=False, **environ)
    assert backend.process.wait(timeout=30) != 0
    backend.stop()
    log = "".join(backend.log)
    assert "imgserve cannot start" in log
    assert said in log
    assert "Traceback" not in log


def test_a_stopped_backend_leaves_no_compiler_behind(
    start_backend: StartBackend, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = start_backend(
            ready=False,
            MODEL_NAME="vgg16",
            WEIGHTS_DIR=str(tmp_path),
            WEIGHTS_URL_BASE=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
        backend.wait_until("/hello")
        wait_until(lambda: _compilers(tmp_path))
        backend.stop()
        wait_until(lambda: not _compilers(tmp_path))


def _compilers(folder: Path) -> list[list[str]]:
    """Return the command lines that compile into a folder."""
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [each for each in commands if "imgserve.compile" in each and str(folder) in str(each)]


def ask(url: str, name: str, session: requests.Session | None = None, **form: str) -> Any:
    """Return which model answered, and what, to an uploaded picture; wait while it is busy."""
    picture = {"image": pictures.path(name).read_bytes()}
    for _ in range(60):
        response = (session or requests).post(url, files=picture, data=form, timeout=60)
        if response.status_code != 503:
            break
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["model"], answer["predictions"]


def test_every_caller_gets_the_answer_of_its_own_model_under_eviction_and_others_choices(
    start_backend: StartBackend,
) -> None:
    environ = {"MODEL_NAME": "", "MODELS": ",".join(MODELS), "SECRET_KEY": "k"}
    backend = start_backend("backend_v2.app:app", MODEL_MEMORY_MB=TOO_LITTLE_MB, **environ)
    alone = {
        (model, name): ask(f"{backend.url}/model/{model}/predict", name)
        for model in MODELS
        for name in PICTURES
    }
    for name in PICTURES:  # else nobody could tell one model from another
        assert len({str(alone[model, name][1]) for model in MODELS}) == len(MODELS)

    def call(seed: int) -> None:
        order, kept = random.Random(seed), MODELS[0]
        with requests.Session() as session:
            for _ in range(10):
                model, name = order.choice(MODELS), order.choice(PICTURES)
                way = order.choice(("cookie", "body", "path", "kept"))
                if way == "cookie":
                    chosen = session.put(f"{backend.url}/model/{model}", timeout=30)
                    assert chosen.json()["model"] == model
                    kept = model
                path = f"/model/{model}/predict" if way == "path" else "/predict"
                form = {"model": model} if way == "body" else {}
                expected = kept if way in ("cookie", "kept") else model
                answer = ask(backend.url + path, name, session, **form)
                assert answer == (expected, alone[expected, name][1])

    with ThreadPoolExecutor(max_workers=8) as callers:
        list(callers.map(call, range(8)))
    assert any("left memory" in line for line in backend.log), "nothing was evicted"
    backend.stop()


def test_pictures_that_do_not_fit_into_memory_are_refused_and_the_others_answered(
    start_backend: StartBackend,
) -> None:
    backend = start_backend(PICTURE_MEMORY_MB="64")
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    picture = pictures.saved(Image.fromarray(noise), "JPEG", quality=88)
    headers = {"Content-Type": "image/jpeg"}
    server = max(psutil.Process(backend.process.pid).children(), key=lambda child: child.pid)

    def ask(_: int) -> int:
        answer = requests.post(f"{backend.url}/predict", picture, headers=headers, timeout=60)
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


def test_few_files_end_neither_fetches_nor_the_server(start_backend: StartBackend) -> None:
    limited = ["bash", "-c", 'ulimit -n 700 && exec "$@"', "bash"]
    backend = start_backend(before=limited, ALLOWED_ADDRESSES="127.0.0.0/8")

    def fetch(host: PictureHost) -> int:
        url = f"{backend.url}/predict"
        return requests.post(url, json={"url": host.url()}, timeout=60).status_code

    with ExitStack() as stack:
        for _ in range(600):
            caller = socket.create_connection(("127.0.0.1", backend.port), timeout=10)
            stack.enter_context(caller)
            caller.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        addresses = (f"127.0.1.{number}" for number in range(1, 65))
        answer = reply(pictures.path("chelsea.png").read_bytes(), delay_s=1)
        hosts = [stack.enter_context(PictureHost(answer, address=where)) for where in addresses]
        with ThreadPoolExecutor(64) as callers:
            statuses = Counter(callers.map(fetch, hosts))
    assert set(statuses) <= {200, 503, 504}
    assert statuses[200] > 0
    assert requests.get(f"{backend.url}/ready", timeout=10).ok
    assert backend.stop() == 0
    assert not any("Too many open files" in line for line in backend.log)


@pytest.mark.parametrize(
    ("app", "models"),
    [
        ("backend_v1", MODELS[0]),
        ("backend_v2", MODELS[0]),
        ("v3.backend", f"{MODELS[0]},in_an_image_of_its_own"),
    ],
)
def test_every_answer_is_one_that_the_api_document_promises(
    app: str, models: str, start_backend: StartBackend
) -> None:
    """Requests are made from the document, thousands of them."""
    backend = start_backend(f"{app}.app:app", MODELS=models, FETCH_TIMEOUT_S="1")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", backend.url + OPENAPI]
    command += ["--checks", "all", "--max-examples", "40", "--seed", "1"]
    # No document can say which bytes are a picture, so what it allows may well be refused.
    command += ["--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what serving imports ---------------------------------------------------------------------


TORCH = {"torch", "torchvision", "openvino_telemetry", "openvino.tools.ovc", "streamlit"}
BACKEND = """
from backend_v1.app import app, pool
while pool.state(pool.ids[0])[0] != "ready": pass
with open("imgserve/samples/cat.jpg", "rb") as picture:
    answer = app.test_client().post("/predict", data=picture.read(), content_type="image/jpeg")
assert answer.status_code == 200, answer.text
"""
WORKER = """
import os
from imgserve.models import worker_process
from imgserve.models.openvino_engine import load
from imgserve.settings import BackendSettings
print(load(BackendSettings.from_environ(os.environ), os.environ["MODEL_NAME"]).precision)
"""
# It starts sooner, and takes less memory, without what is its workers' affair.
BEFORE_IT_ANSWERS = "import imgserve.backend.routes, imgserve.models.pool"


Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(root: Path, weights_dir: Path) -> Python:
    """Return a function that runs a script as a container would, with the embedded model."""

    def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
        given = {**CLEAN, "MODEL_NAME": MODELS[0], "WEIGHTS_DIR": str(weights_dir), **environ}
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, cwd=root, env=given, check=False, capture_output=True, text=True
        )

    return run


@pytest.mark.parametrize(
    ("script", "heavy"),
    [
        pytest.param(BACKEND, TORCH, id="a backend, torch"),
        pytest.param(WORKER, TORCH, id="a worker, torch"),
        pytest.param(BEFORE_IT_ANSWERS, {"numpy", "openvino", "PIL"}, id="a backend, numpy"),
    ],
)
def test_serving_imports_nothing_heavy_that_it_does_not_need(
    python: Python, script: str, heavy: set[str]
) -> None:
    say = f"\nimport sys; print(sorted(name for name in {heavy} if sys.modules.get(name)))"
    done = python(script + say)
    assert done.stdout.endswith("[]\n"), done.stderr


# --- the embedded model in other precisions than fp32 -----------------------------------------


CLASSES = {
    "cat": {"tabby", "tiger cat", "Egyptian cat"},
    "espresso": {"espresso"},
    "rocket": {"missile", "projectile"},
}


def test_a_backend_in_int8_answers_rightly_says_so_and_keeps_less_on_disk(
    start_backend: StartBackend, int8_weights_dir: Path, root: Path
) -> None:
    folder = int8_weights_dir
    backend = start_backend("v3.backend.app:app", PRECISION=INT8, WEIGHTS_DIR=str(folder))
    url = f"{backend.url}/model/{MODELS[0]}"
    for sample, classes in CLASSES.items():
        picture = (root / f"imgserve/samples/{sample}.jpg").read_bytes()
        answer = requests.post(f"{url}/predict", files={"image": picture}, timeout=10).json()
        assert answer["category"] in classes
        assert (answer["model"], answer["precision"]) == (MODELS[0], INT8)
        assert sum(prediction["probability"] for prediction in answer["predictions"]) <= 1
    state = requests.get(url, timeout=10).json()
    backend.stop()
    assert (state["state"], state["precision"]) == ("ready", INT8)
    fp32, int8 = (read_info(folder / "compiled", MODELS[0], kind) for kind in (FP32, INT8))
    assert state["size_bytes"] == int8.graph.size_bytes + int8.weights.size_bytes
    assert state["size_bytes"] < fp32.weights.size_bytes / 2
    assert not any("is compiled once" in line for line in backend.log)


@pytest.mark.parametrize(
    ("precision", "out", "err"),
    [("auto", "fp32\n", ""), ("bf16", "", "ModelError: PRECISION='bf16' cannot be used: this CPU")],
)
def test_a_cpu_without_bf16_computes_in_fp32_and_refuses_bf16(
    python: Python, precision: str, out: str, err: str
) -> None:
    done = python(WORKER, OV_CPU_MAX_ISA="AVX2", PRECISION=precision)  # OpenVINO knows no newer one
    assert done.stdout == out
    assert err in done.stderr


# --- an idle container ------------------------------------------------------------------------


@pytest.mark.large
def test_each_service_answers_on_a_kept_connection_after_it_was_frozen(
    root: Path, start_backend: StartBackend
) -> None:
    """Cloud Run takes the CPU from an idle container, which wakes up as if nothing had been."""
    backend = start_backend("v3.backend.app:app")
    gateway = Service(GATEWAY, root, free_port(), {"BACKENDS": f"{MODELS[0]}={backend.url}"})
    page = Frontend("frontend_v1", root, {"SERVING_URL": backend.url})
    try:
        gateway.wait_until()
        page.wait_until()
        picture = {"files": {"image": pictures.path("coffee.png").read_bytes()}}
        predict = f"/model/{MODELS[0]}/predict"
        asked = {backend.url + predict: picture, gateway.url + predict: picture}
        asked[f"{page.url}/_stcore/health"] = {}
        with requests.Session() as session:
            for url, body in asked.items():
                assert session.request("POST" if body else "GET", url, timeout=20, **body).ok
            before = sockets(session)
            trees = [psutil.Process(one.process.pid) for one in (backend, gateway, page)]
            found = [one for tree in trees for one in (tree, *tree.children(recursive=True))]
            for process in found:
                process.suspend()
            time.sleep(35)  # gunicorn waits 30 s for a sign of life by default
            for process in found:
                process.resume()
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
