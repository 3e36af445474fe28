"""The command behind `make rehearse`, as far as it is quick; the rest is `make rehearse` itself."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.services.test_supervisor import is_alive
from tests.unit.waiting import wait_until
from tools.process import Failed, listens
from tools.rehearsal import host
from tools.rehearsal.docker import pip_configuration
from tools.rehearsal.host import NEEDS, copy_source, serving


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


# --- what it stands on ----------------------------------------------------------------------------


def git(folder: Path, *words: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(folder), *words], env=own, check=True)


def test_pip_finds_in_a_container_what_it_finds_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thing-1.0-py3-none-any.whl").write_text("a wheel")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} {tmp_path}/nothing")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    with pip_configuration(tmp_path / "log") as conf:
        first, *options = conf.splitlines()
        values = dict(option.split(" = ") for option in options)
        with urllib.request.urlopen(f"{values['find-links']}thing-1.0-py3-none-any.whl") as answer:
            assert answer.read() == b"a wheel"
    assert first == "[global]"
    assert values["index-url"] == "https://index.example/simple"
    assert values["cert"] == "/etc/ssl/certs/ca-certificates.crt"
    assert not listens(int(values["find-links"].rpartition(":")[2].strip("/")))


def test_the_copy_is_the_working_tree_and_not_the_last_commit(tmp_path: Path) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    git(root, "init", "--quiet")
    for name, text in {"kept": "old", "deleted": "", ".gitignore": "ignored\n"}.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    (root / "kept").write_text("new")
    (root / "kept").chmod(0o755)
    (root / "deleted").unlink()
    for name in ("untracked", "ignored"):
        (root / name).touch()
    copy_source(root, copy)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "kept", "untracked"]
    assert (copy / "kept").read_text() == "new"
    assert os.access(copy / "kept", os.X_OK)


def test_a_copy_of_no_repository_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="not a git repository"):
        copy_source(tmp_path, tmp_path / "copy")


def test_a_process_that_is_never_ready_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "START_S", 0.0)
    never = pytest.raises(Failed, match=r"^sleep is not ready after 0 s; the end of .*\n.*nothing")
    with never, serving(["sleep", "60"], tmp_path / "sleep.log", lambda: False):
        pass
