"""v1 as a container runs it: real gunicorn, real pictures, over HTTP."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.services.conftest import StartBackend
from tests.unit import pictures
from tests.unit.picture_host import PictureHost, reply, silence
from tests.unit.waiting import wait_until


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


def test_logs_are_json_with_the_requests_trace(start_backend: StartBackend) -> None:
    backend = start_backend(GOOGLE_CLOUD_PROJECT="my-project")
    trace = "0af7651916cd43dd8448eb211c80319c"
    header = {"X-Cloud-Trace-Context": f"{trace}/1;o=1", "X-Request-Id": "seen-in-log"}
    requests.get(f"{backend.url}/hello", headers=header, timeout=10)
    backend.stop()
    entries = [json.loads(line) for line in backend.log]
    (entry,) = [each for each in entries if each.get("request_id") == "seen-in-log"]
    assert entry["logging.googleapis.com/trace"] == f"projects/my-project/traces/{trace}"
    assert all("severity" in each for each in entries)


def test_a_stopped_backend_leaves_no_compiler_behind(
    start_backend: StartBackend, tmp_path: Path
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
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
