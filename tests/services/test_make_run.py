"""``make run``, as a person uses it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

import psutil
import pytest
import requests

from tests.services.conftest import MODELS, free_port
from tests.services.test_supervisor import end, finish, is_alive, read_until
from tests.unit import pictures
from tests.unit.waiting import wait_until
from tools.process import is_free


@pytest.fixture
def begin(root: Path, weights_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that begins a run with these settings."""
    runs: list[subprocess.Popen[str]] = []

    def begin(**environ: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tools.run"]
        given = {**os.environ, "WEIGHTS_DIR": str(weights_dir), **environ}
        runs.append(subprocess.Popen(command, cwd=root, env=given, stdout=PIPE, text=True))
        return runs[-1]

    yield begin
    end(runs)


class Run(NamedTuple):
    """A run that has said that it is ready, all it said, and the backend's or gateway's URL."""

    process: subprocess.Popen[str]
    said: str
    url: str


@pytest.fixture
def start(begin: Callable[..., subprocess.Popen[str]]) -> Callable[..., Run]:
    """Return a function that starts a run on free ports and waits until it is ready."""

    def start(version: str, answers_at: str, models: Sequence[str]) -> Run:
        ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "FRONTEND_PORT")}
        ports["BACKEND_PORT"] = str(free_port())  # the few after it are free, too
        process = begin(VERSION=version, **ports, MODELS=",".join(models))
        said = read_until(process, "Ctrl-C stops everything.")
        assert f"  page     http://127.0.0.1:{ports['FRONTEND_PORT']}\n" in said
        return Run(process, said, f"http://127.0.0.1:{ports[answers_at]}")

    return start


def test_v1_whose_model_cannot_be_loaded_says_why_once_and_ends(
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    ports = {name: free_port() for name in ("BACKEND_PORT", "FRONTEND_PORT")}
    given = {name: str(port) for name, port in ports.items()}
    status, said = finish(
        begin(MODEL_NAME="resnet152", WEIGHTS_URL_BASE=nowhere, **given), limit_s=120
    )
    assert status == 1
    reason = re.findall(r"^model resnet152 could not be loaded: .*$", said, re.MULTILINE)
    assert len(reason) == 1
    assert nowhere in reason[0]
    assert "Traceback" not in said
    assert all(is_free(port) for port in ports.values())


@pytest.mark.parametrize(
    ("version", "answers_at", "models"),
    [("v2", "BACKEND_PORT", MODELS), ("v3", "GATEWAY_PORT", MODELS[:2])],
)
def test_run_answers_for_every_model_and_its_command_works(
    version: str, answers_at: str, models: Sequence[str], start: Callable[..., Run]
) -> None:
    run = start(version, answers_at, models)
    assert (f"  gateway  {run.url}/models\n" in run.said) == (version == "v3")
    (line,) = re.findall(r"^  curl     (.*)$", run.said, re.MULTILINE)
    command = ["bash", "-c", f"{line} --silent --fail"]
    answer = json.loads(subprocess.check_output(command, cwd="/", text=True, timeout=60))
    assert answer["model"] == models[0]
    assert requests.get(f"{run.url}/models", timeout=10).json() == list(models)
    for model in models:
        files = {"image": pictures.path("coffee.png").read_bytes()}
        url = f"{run.url}/model/{model}/predict"
        answer = requests.post(url, files=files, timeout=60).json()
        assert (answer["model"], answer["category"]) == (model, "espresso")
    run.process.send_signal(signal.SIGINT)
    assert finish(run.process)[0] == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{run.url}/hello", timeout=5)


def test_services_whose_run_was_killed_end_when_they_are_told_to(
    start: Callable[..., Run],
) -> None:
    run = start("v2", "BACKEND_PORT", MODELS[:1])
    services = psutil.Process(run.process.pid).children()
    run.process.kill()
    run.process.wait()
    run.process.stdout.close()  # type: ignore[union-attr]  # now nobody reads what they say
    assert requests.get(f"{run.url}/hello", timeout=10).ok
    for service in services:
        service.terminate()
    wait_until(lambda: not any(is_alive(service.pid) for service in services))
