"""The command behind `make rehearse`, as far as it is quick; the rest is `make rehearse` itself."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.services.deployment.project import git
from tests.services.test_supervisor import is_alive
from tests.unit.waiting import wait_until
from tools.process import Failed, listens
from tools.rehearsal import checks, host
from tools.rehearsal.__main__ import shell
from tools.rehearsal.docker import Docker, pip_configuration
from tools.rehearsal.host import NEEDS, copy_source, serving
from tools.rehearsal.rehearsal import Rehearsal
from tools.rehearsal.scenario import compare, read_deliverables, together
from tools.rehearsal.stage import Build, Stage
from tools.rehearsal.web import Store


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


def test_the_copy_is_a_repository_s_working_tree_and_not_its_last_commit(tmp_path: Path) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    with pytest.raises(Failed, match="not a git repository"):
        copy_source(root, copy)
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


def test_a_process_that_is_never_ready_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "START_S", 0.0)
    never = pytest.raises(Failed, match=r"^sleep is not ready after 0 s; the end of .*\n.*nothing")
    with never, serving(["sleep", "60"], tmp_path / "sleep.log", lambda: False):
        pass


# --- its steps ------------------------------------------------------------------------------------

BASE, MODELS, CODE = {"sha256:a": 90_000_000}, {"sha256:b": 17_000_000}, {"sha256:c": 400_000}
BUILD = Build("01234567-89ab-cdef-0123-456789abcdef", "backend_v1", 100.0, BASE | MODELS | CODE)
Scripts = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage with a copy of the repository and no cloud."""
    environ = {"PATH": os.environ["PATH"]}
    own = Rehearsal("", Docker(environ), Store("rehearsal"), environ, tmp_path)
    return Stage(own, tmp_path, urls={"backend_v1": "http://a"})


@pytest.fixture
def scripts(stage: Stage) -> Scripts:
    """Return a function that writes a script of a copy."""

    def write(text: str, name: str = "deployment/try.sh") -> Stage:
        script = stage.source / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        return stage

    return write


def test_a_step_shows_its_name_time_and_findings_and_of_a_failure_the_end_of_its_log(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = scripts("seq 100 >&2; exit 3")
    with stage.step("look"):
        stage.notes.append("all is well")
    printed, said = capsys.readouterr()
    assert printed == ""
    assert re.sub("[0-9.]+ s", "1 s", said) == "look ...\nlook: 1 s\n    all is well\n"
    why = "look around: deployment/try.sh ended with exit status 3"
    with pytest.raises(Failed, match=f"^{why}$"), stage.step("look around"):
        stage.run("try.sh")
    shown = capsys.readouterr().err
    assert "FAILED: deployment/try.sh ended with exit status 3\n" in shown
    assert [line for line in (60, 61, 100) if f"| {line}\n" in shown] == [61, 100]


def test_a_script_gives_its_lines_and_leaves_the_rest_in_the_log(scripts: Scripts) -> None:
    stage = scripts('echo "$1 $COLOUR"; echo more; echo progress >&2')
    with stage.step("try"):
        assert stage.run("try.sh", "a", COLOUR="blue") == ["a blue", "more"]
    log = stage.log.read_text()
    assert log == "$ COLOUR=blue deployment/try.sh a\nprogress\na blue\nmore\n"


def test_a_script_that_should_fail_gives_its_reason_or_fails_its_step(scripts: Scripts) -> None:
    stage = scripts("echo first >&2; echo it is broken >&2; exit $STATUS")
    with stage.step("try"):
        stage.run("try.sh", fails=True, STATUS="1")
    assert stage.notes == ["it is broken"]
    with pytest.raises(Failed, match="should have failed"), stage.step("again"):
        stage.run("try.sh", fails=True, STATUS="0")


def test_the_first_failure_ends_what_is_done_side_by_side(scripts: Scripts, stage: Stage) -> None:
    scripts("[ $STATUS = 3 ] || sleep 60; exit $STATUS")

    def work(status: str) -> None:
        own = Stage(stage.rehearsal, stage.source)
        with own.step(status):
            own.run("try.sh", STATUS=status)

    began = time.monotonic()
    with pytest.raises(Failed, match=r"^3: deployment/try\.sh ended with exit status 3"):
        together(stage.rehearsal, partial(work, "0"), partial(work, "3"))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("anew", "message"),
    [
        (CODE, "code that was changed is not in the image"),
        ({"sha256:d": 400_000, "sha256:e": 17_000_000}, r"17\.4 MB were made anew: more than code"),
    ],
)
def test_a_build_that_lacks_a_change_or_makes_models_anew_is_no_good(
    anew: dict[str, int], message: str
) -> None:
    with pytest.raises(Failed, match=message):
        compare(BUILD, replace(BUILD, layers=BASE | anew))


@pytest.mark.parametrize("is_asked", [True, False])
def test_an_answer_that_fails_while_asking_or_never_asked_fails_the_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_asked: bool
) -> None:
    asked = threading.Event()

    def predicted(stage: Stage, url: str) -> str:
        asked.set()
        raise requests.ConnectionError("gone")

    monkeypatch.setattr(checks, "predicted", predicted)
    monkeypatch.setattr(checks, "PAUSE_S", 0.001 if is_asked else 60)
    message = r"failed: \['gone'\]" if is_asked else "of 0 questions"
    with pytest.raises(Failed, match=message), checks.asking(stage):
        assert not is_asked or asked.wait(30)


SHELL = """\
.venv/bin/python -c 'import flask, sys; print(sys.prefix)'
echo $CLOUDSDK_RUN_REGION
exit 3
"""


def test_shell_is_in_the_copy_with_all_that_is_set_and_says_how_to_leave(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scripts("", "deployment/setup.sh")
    stage = scripts(SHELL, "shell")
    monkeypatch.setenv("SHELL", str(stage.source / "shell"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert shell(stage) == 3
    printed, said = capfd.readouterr()
    assert printed == f"{stage.source / '.venv'}\nnorthamerica-northeast1\n"
    assert str(stage.source) in said
    assert "Login, project (rehearsal) and region are set" in said
    assert "`exit` or Ctrl-D leaves, and removes all of it." in said


def test_deliverables_that_lack_an_address_or_have_another_fail_their_step(stage: Stage) -> None:
    stage.builds = [BUILD]
    found = "services: {v1: {back_end: {build_id: %s, service_url: %s}, front_end: {url: ''}}}"
    for url, is_right in (("http://a", True), ("''", False), ("http://b", False)):
        (stage.source / "deliverables.yaml").write_text(found % (BUILD.id, url))
        raised = nullcontext() if is_right else pytest.raises(Failed, match="it has")
        with raised, stage.step("read"):
            read_deliverables(stage, "v1")
