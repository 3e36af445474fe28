"""``make run``, as a person uses it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import requests

from tests.services.conftest import CLEAN, MODELS, PictureHost, free_port
from tests.services.test_supervisor import end, finish, is_alive, read_until
from tests.unit import pictures
from tests.unit.waiting import wait_until
from tools.process import is_free

# `make` as a person has it, but it installs nothing: the tests run in what is installed.
MAKE = ("make", *(f"--assume-old=.venv/{name}.stamp" for name in ("run", "quantize", "dev")))
Process = subprocess.Popen[str]
Start = Callable[..., tuple[Process, str, str]]


@pytest.fixture
def begin(root: Path, weights_dir: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that begins a run with these settings, in a process group of its own."""
    runs: list[Process] = []

    def begin(**settings: object) -> Process:
        command = [*MAKE, "run", *(f"{name}={value}" for name, value in settings.items())]
        environ = {**CLEAN, "WEIGHTS_DIR": str(weights_dir)}
        out = subprocess.PIPE
        runs.append(
            subprocess.Popen(command, cwd=root, env=environ, stdout=out, text=True, process_group=0)
        )
        return runs[-1]

    yield begin
    end(runs)


@pytest.fixture
def start(begin: Callable[..., Process]) -> Start:
    """Return a function that starts a run; once it is ready, what it said and where it answers."""

    def start(version: str, models: Sequence[str]) -> tuple[Process, str, str]:
        ports = {name: free_port() for name in ("GATEWAY_PORT", "FRONTEND_PORT", "BACKEND_PORT")}
        own = {"MODELS": ",".join(models), "ALLOWED_ADDRESSES": "127.0.0.1/32"}
        process = begin(VERSION=version, **own, **ports)
        said = read_until(process, "Ctrl-C stops everything.")
        assert f"  page     http://127.0.0.1:{ports['FRONTEND_PORT']}\n" in said
        answers_at = ports["GATEWAY_PORT" if version == "v3" else "BACKEND_PORT"]
        return process, said, f"http://127.0.0.1:{answers_at}"

    return start


def test_v1_whose_model_cannot_be_loaded_says_why_once_and_ends(
    begin: Callable[..., Process],
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    ports = {name: free_port() for name in ("BACKEND_PORT", "FRONTEND_PORT")}
    process = begin(MODEL_NAME="resnet152", WEIGHTS_URL_BASE=nowhere, **ports)
    status, said = finish(process, limit_s=120)
    assert status != 0
    reason = re.findall(r"^model resnet152 could not be loaded: .*$", said, re.MULTILINE)
    assert len(reason) == 1
    assert nowhere in reason[0]
    assert "Traceback" not in said
    assert all(is_free(port) for port in ports.values())


@pytest.mark.parametrize(
    ("version", "models"), [("v1", MODELS[:1]), ("v2", MODELS), ("v3", MODELS[:2])]
)
def test_run_answers_for_every_model_and_its_command_works(
    version: str, models: Sequence[str], start: Start, picture_host: PictureHost
) -> None:
    run, said, url = start(version, models)
    assert (f"  gateway  {url}/models\n" in said) == (version == "v3")
    (line,) = re.findall(r"^  curl     (.*)$", said, re.MULTILINE)
    command = ["bash", "-c", f"{line} --silent --fail"]
    answer = json.loads(subprocess.check_output(command, cwd="/", text=True, timeout=60))
    assert answer["model"] == models[0]
    if version != "v1":
        assert requests.get(f"{url}/models", timeout=10).json() == list(models)
    for model in models:
        path = "predict" if version == "v1" else f"model/{model}/predict"
        espresso = {"image": pictures.path("coffee.png").read_bytes()}
        fetched = {"url": picture_host.url("coffee.png")}  # which ALLOWED_ADDRESSES allows
        for asked in ({"files": espresso}, {"json": fetched}):
            answer = requests.post(f"{url}/{path}", timeout=60, **asked).json()
            assert (answer["model"], answer["category"]) == (model, "espresso")
    os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does: to all of them
    finish(run)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/hello", timeout=5)


def test_services_whose_run_was_killed_end_when_they_are_told_to(start: Start) -> None:
    run, _, url = start("v2", MODELS[:1])
    (supervisor,) = psutil.Process(run.pid).children()
    services = supervisor.children()
    supervisor.kill()
    run.communicate()  # now nobody reads what they say
    assert requests.get(f"{url}/hello", timeout=10).ok
    for service in services:
        service.terminate()
    wait_until(lambda: not any(is_alive(service.pid) for service in services))
