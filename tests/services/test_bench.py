"""The benchmark measures and cleans up; how fast anything is, nobody asserts here."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.unit import pictures
from tools.benchmarks.parts.strategies import LOADED
from tools.benchmarks.record import Record

LIMIT_S = 120


@pytest.fixture
def environ(tmp_path: Path, weights_dir: Path) -> dict[str, str]:
    """Return an environment in which the benchmark keeps its things in a folder of the test's."""
    (tmp_path / "weights").symlink_to(weights_dir)
    return {**os.environ, "BENCH_FOLDER": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def _command(*parts: str) -> list[str]:
    return [sys.executable, "-m", "tools.benchmarks", "--plan", "smoke", *parts]


def _rows(folder: Path, part: str) -> list[dict[str, object]]:
    record = msgspec.json.decode((folder / f"{part}.json").read_bytes(), type=Record)
    assert record.part == part
    assert record.machine["cores"]
    assert record.versions["openvino"]
    return record.rows


def test_a_short_run_keeps_figures_of_ours_and_prints_the_table(
    root: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        _command("limit", "servers", "growth"),
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results"
    assert {row["work"] for row in _rows(folder, "limit")} == {"whole", "engine"}
    servers = _rows(folder, "servers")
    assert [row["entrance"] for row in servers] == ["limit", "bare", "v1"]
    assert all(row["answers"] and not row["failed"] for row in servers)
    assert {row["what"] for row in _rows(folder, "growth")} == {"models", "clients", "megapixels"}
    assert done.stdout == (folder / "REPORT.md").read_text(encoding="utf-8")
    assert "| throughput against each peer as it comes" in done.stdout


def test_load_per_request_answers_with_the_model_asked_for_and_loads_it_each_time(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"WEIGHTS_DIR": str(weights_dir), "THREADS": "2", "MODELS": "efficientnet_lite1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "tools.benchmarks.peers.load_per_request_app", raising=False)
    client = importlib.import_module(
        "tools.benchmarks.peers.load_per_request_app"
    ).app.test_client()
    for _ in range(2):
        with pictures.path("coffee.png").open("rb") as picture:
            answer = client.post("/model/efficientnet_lite1/predict", data={"image": picture})
        assert answer.json == {"category": "espresso"}
    assert client.post("/model/efficientnet_lite2/predict").status_code == 404
    assert len(LOADED.findall(capsys.readouterr().err.encode())) == 2


@pytest.fixture
def running(root: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Return a benchmark of servers that has just begun."""
    process = subprocess.Popen(
        _command("servers"), cwd=root, env=environ, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_all_that_it_started(
    number: signal.Signals, running: subprocess.Popen[str]
) -> None:
    assert running.stderr is not None
    assert "limit, file" in running.stderr.readline()
    started = _descendants(running.pid)
    assert started
    running.send_signal(number)
    _, said = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130
    assert "everything that was started is stopped" in said
    _, left = psutil.wait_procs(started, timeout=5)
    assert left == []


def _descendants(pid: int) -> list[psutil.Process]:
    """Return the processes below one, once there are any beside the picture host's."""
    found: list[psutil.Process] = []
    deadline = time.monotonic() + 10
    while len(found) < 4 and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(pid).children(recursive=True)
        time.sleep(0.05)
    return found
