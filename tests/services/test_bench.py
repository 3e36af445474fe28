"""The benchmark measures and cleans up; how fast anything is, nobody asserts here."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.waiting import wait_until
from tools.benchmarks.results import Results

LIMIT_S = 120


@pytest.fixture
def started(root: Path, tmp_path: Path, weights_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """Return a short benchmark of v1 that keeps its things in a folder of the test's."""
    (tmp_path / "weights").symlink_to(weights_dir)
    parts = ["limit", "servers", "--servers", "v1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.benchmarks", "--quick", *parts],
        cwd=root,
        env={**os.environ, "BENCH_FOLDER": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_short_run_keeps_figures_of_ours_and_prints_the_table(
    started: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    printed, said = started.communicate(timeout=LIMIT_S)
    assert started.returncode == 0, said
    (folder,) = (path for path in (tmp_path / "results").iterdir() if path.is_dir())
    results = Results(folder)
    assert {*results["limit"].work} == {"whole", "engine"}
    assert {*results["servers"].entrance} == {"limit", "bare", "v1"}
    # By URL and upload, of 1, 8 and 32 clients; two larger pictures of 8 and 32.
    assert len(results["servers"]) == 2 + 2 * 3 + 2 * 2
    assert results.invalid.empty
    record = results.records["servers"]
    assert {"cpu", "amx", "cores"} <= record.machine.keys()
    assert record.versions["openvino"]
    assert printed == (tmp_path / "results" / "REPORT.md").read_text(encoding="utf-8")
    assert "| answers a second against the original's design" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_all_that_it_started(
    number: signal.Signals, started: "subprocess.Popen[str]"
) -> None:
    assert started.stderr is not None
    while "entrance bare" not in started.stderr.readline():
        assert started.poll() is None
    benchmark = psutil.Process(started.pid)
    wait_until(lambda: len(benchmark.children(recursive=True)) > 3)  # the picture host's, and more
    children = benchmark.children(recursive=True)
    started.send_signal(number)
    _, said = started.communicate(timeout=LIMIT_S)
    assert started.returncode == 130
    assert "everything that was started is stopped" in said
    _, left = psutil.wait_procs(children, timeout=5)
    assert left == []


@pytest.mark.parametrize(
    ("told", "options"),
    [
        ("QUICK=1 PARTS=limit MATRIX_UNITS=0", "limit --quick --without-matrix-units"),
        ("QUICK=0 PHOTOS=p", "--photos p"),
        ("QUICK= PHOTOS= MATRIX_UNITS=", ""),
    ],
)
def test_make_tells_the_benchmark_what_it_was_told(told: str, options: str, root: Path) -> None:
    make = ["make", "--no-print-directory", "--dry-run", "bench", *told.split()]
    said = subprocess.check_output(make, cwd=root, text=True)
    assert said.rpartition("-m tools.benchmarks")[2].replace("\\\n", "").split() == options.split()
