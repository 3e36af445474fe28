"""The command behind `make rehearse`, as far as it is quick; the rest is `make rehearse` itself."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services.test_supervisor import is_alive
from tests.unit.waiting import wait_until
from tools.rehearsal.host import NEEDS


def start(root: Path, *words: str, **variables: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tools.rehearsal", *words]
    environ = {**os.environ, **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, env=environ, stdout=pipe, stderr=pipe, text=True)


def run(root: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    process = start(root, *words, **variables)
    printed, said = process.communicate(timeout=60)
    return process.returncode, printed, said


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder of programs that stand for those a rehearsal needs, and only fail."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, *_ in NEEDS:
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    return folder


def test_an_unknown_version_is_refused(root: Path) -> None:
    status, _, said = run(root, "v4")
    assert status == 2
    assert "'v4' is none of v1, v2, v3" in said


def test_a_failure_is_said_with_where_its_logs_are(
    root: Path, programs: Path, tmp_path: Path
) -> None:
    path = f"{programs}:{os.environ['PATH']}"
    status, _, said = run(root, "v1", PATH=path, TMPDIR=str(tmp_path))
    assert status == 1
    assert "dockerd ended by itself" in said
    found = re.search(r"\nThe logs are in (\S+): rm -rf \1\n$", said)
    assert found, said
    assert said.startswith("FAIL: ")
    shutil.rmtree(found[1])


def test_each_missing_program_is_named_and_nothing_is_done(root: Path, tmp_path: Path) -> None:
    browser = tmp_path / "google-chrome"  # one of its names
    browser.touch(mode=0o755)
    status, printed, said = run(root, PATH=str(tmp_path), TMPDIR=str(tmp_path))
    assert (status, printed) == (1, "")
    assert "gcloud is missing: the Google Cloud CLI" in said
    assert "git is missing: the package git\n" in said
    assert "chromium" not in said
    assert list(tmp_path.iterdir()) == [browser]


STUBBORN = """\
#!/bin/sh
trap 'sleep 1; exit' TERM
echo $$ >"$0.pid"
while :; do sleep 0.1; done
"""


@pytest.mark.parametrize("pause_s", [0, 0.3])
def test_two_signals_end_it_and_leave_nothing(
    root: Path, programs: Path, tmp_path: Path, pause_s: float
) -> None:
    """Here the daemon never answers, and takes a while to end."""
    (programs / "dockerd").write_text(STUBBORN)
    path = f"{programs}:{os.environ['PATH']}"
    process = start(root, "v1", PATH=path, TMPDIR=str(tmp_path))
    wait_until((programs / "dockerd.pid").exists)
    process.send_signal(signal.SIGTERM)
    time.sleep(pause_s)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "\nInterrupted.\n")
    assert list(tmp_path.iterdir()) == [programs]
    assert not is_alive(int((programs / "dockerd.pid").read_text()))
