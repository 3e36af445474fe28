"""The steps of a rehearsal and what is said of them."""

import io
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import requests

from tools.process import Failed
from tools.rehearsal import checks
from tools.rehearsal.__main__ import shell
from tools.rehearsal.docker import Docker
from tools.rehearsal.rehearsal import Rehearsal
from tools.rehearsal.scenario import compare, read_deliverables, together
from tools.rehearsal.stage import Build, Stage
from tools.rehearsal.web import Store

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


def test_a_step_shows_its_name_time_and_findings(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage.step("look around"):
        stage.notes.append("all is well")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.sub("[0-9.]+ s", "1 s", shown.err) == (
        "look around ...\nlook around: 1 s\n    all is well\n"
    )


def test_a_step_that_fails_shows_the_end_of_its_log(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = scripts("seq 100 >&2; exit 3")
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
