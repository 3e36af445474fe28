"""The steps of a rehearsal and what is said of them."""

import io
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from tools.process import Failed
from tools.rehearsal import checks
from tools.rehearsal import stage as stages
from tools.rehearsal.__main__ import document, shell
from tools.rehearsal.docker import Docker
from tools.rehearsal.rehearsal import Rehearsal
from tools.rehearsal.scenario import compare, read_deliverables, together
from tools.rehearsal.stage import Build, Layer, Progress, Stage, Step, built, by_purpose
from tools.rehearsal.web import Store

BASE = [Layer("sha256:a", 30_000_000, "CMD"), Layer("sha256:b", 90_000_000, "install.sh backend")]
COPY = Layer("sha256:c", 100_000, "COPY requirements")
MODEL = Layer("sha256:d", 17_000_000, "python -m imgserve.compile efficientnet_lite0")
CODE, CHANGED = (Layer(digest, 400_000, "COPY imgserve") for digest in ("sha256:e", "sha256:f"))


def build(base: list[Layer], *own: Layer) -> Build:
    return Build("id-1", "backend_v1", 100.0, {"build": 90.0}, by_purpose(base, [*base, *own]), {})


BUILD = build(BASE, COPY, MODEL, CODE)
Scripts = Callable[[str], Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage with a copy of the repository and no cloud."""
    environ = {"PATH": os.environ["PATH"]}
    own = Rehearsal("", Docker(environ), Store("rehearsal"), environ)
    return Stage(own, tmp_path, Progress(tmp_path / "logs"), urls={"backend_v1": "http://a"})


@pytest.fixture
def scripts(stage: Stage) -> Scripts:
    """Return a function that writes the script ``try.sh`` of a copy."""

    def write(text: str) -> Stage:
        script = stage.source / "deployment" / "try.sh"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        return stage

    return write


def test_a_step_shows_its_name_time_and_findings(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage.step("look around"):
        stage.note("all is well")
    shown, seconds = capsys.readouterr(), stage.current.seconds
    assert shown.out == ""
    assert shown.err == f"look around ...\nlook around: {seconds:.1f} s\n    all is well\n"


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
    log = stage.current.log.read_text()
    assert log == "$ COLOUR=blue deployment/try.sh a\nprogress\na blue\nmore\n"


def test_a_script_that_should_fail_gives_its_reason_or_fails_its_step(scripts: Scripts) -> None:
    stage = scripts("echo first >&2; echo it is broken >&2; exit $STATUS")
    with stage.step("try"):
        stage.run("try.sh", fails=True, STATUS="1")
    assert stage.current.notes == ["it is broken"]
    with pytest.raises(Failed, match="should have failed"), stage.step("again"):
        stage.run("try.sh", fails=True, STATUS="0")


def test_the_first_failure_ends_what_is_done_side_by_side(scripts: Scripts, stage: Stage) -> None:
    scripts("[ $STATUS = 3 ] || sleep 60; exit $STATUS")
    stages = {status: Stage(stage.rehearsal, stage.source, stage.progress) for status in ("0", "3")}

    def work(own: Stage, status: str) -> None:
        with own.step(status):
            own.run("try.sh", STATUS=status)

    began = time.monotonic()
    with pytest.raises(Failed, match=r"^3: deployment/try\.sh ended with exit status 3"):
        together(work, stages, 2)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (build(BASE, COPY, MODEL, CHANGED), ""),
        (build([BASE[0], COPY], COPY, MODEL, CHANGED), "layers of the base were made anew"),
        (build(BASE, Layer("sha256:g", 1, MODEL.made_by)), "layers of the models were made anew"),
        (BUILD, "code that was changed is not in the image"),
    ],
)
def test_two_builds_may_differ_in_code_alone_and_must(
    stage: Stage, second: Build, message: str
) -> None:
    raised = pytest.raises(Failed, match=message) if message else nullcontext()
    with raised, stage.step("compare"):
        compare(stage, BUILD, second)
        assert stage.current.notes[:2] == ["base: the same 2 layers", "models: the same 1 layers"]


def test_what_was_built_has_its_steps_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = {"r/backend_base": BASE, "r/backend_v1": [*BASE, COPY, MODEL, CODE]}
    monkeypatch.setattr(stages, "_layers", lambda *called: layers[called[0]])
    times = [f"2026-01-01T00:00:{second:02}.000000Z" for second in (0, 10, 15)]
    step, push = ({"startTime": times[n], "endTime": times[n + 1]} for n in (0, 1))
    found = built(
        {
            "id": "id-1",
            "substitutions": {"_APP_URI": "r/backend_v1", "_BASE_IMAGE_URI": "r/backend_base"},
            "steps": [{"id": "build", "timing": step}],
            "timing": {"PUSH": push},
            "startTime": times[0],
            "finishTime": times[2],
        }
    )
    assert (found.seconds, found.steps) == (15, {"build": 10, "push": 5})
    assert found.layers == BUILD.layers
    assert found.megabytes == {"base": 120.0, "models": 17.0, "code": 0.5}


def test_the_document_has_each_step_and_build() -> None:
    found = json.loads(document([Step("start", Path("a.log"), 2.5, ["ready"])], [BUILD]))
    start = {"name": "start", "log": "a.log", "seconds": 2.5, "notes": ["ready"]}
    assert found["steps"] == [start]
    (about,) = found["builds"]
    assert (about["image"], about["steps"]) == ("backend_v1", {"build": 90.0})
    assert [layer["size_bytes"] for layer in about["layers"]["models"]] == [17_000_000]


@pytest.mark.parametrize("is_asked", [True, False])
def test_an_answer_that_fails_while_asking_or_never_asked_fails_the_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_asked: bool
) -> None:
    asked = threading.Event()

    def predicted(url: str, picture: Path) -> str:
        asked.set()
        raise requests.ConnectionError("gone")

    monkeypatch.setattr(checks, "predicted", predicted)
    monkeypatch.setattr(checks, "PAUSE_S", 0.001 if is_asked else 60)
    message = r"failed: \['gone'\]" if is_asked else "of 0 questions"
    with pytest.raises(Failed, match=message), checks.asking(stage):
        assert not is_asked or asked.wait(30)


SHELL = """\
#!/bin/sh
.venv/bin/python -c 'import flask, sys; print(sys.prefix)'
echo $CLOUDSDK_RUN_REGION
exit 3
"""


def test_shell_is_in_the_copy_with_all_that_is_set_and_says_how_to_leave(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"deployment/setup.sh": "#!/bin/sh\n", "shell": SHELL}.items():
        (stage.source / name).parent.mkdir(parents=True, exist_ok=True)
        (stage.source / name).write_text(text)
        (stage.source / name).chmod(0o755)
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
    found = "services: {v1: {back_end: {build_id: id-1, service_url: %s}, front_end: {url: ''}}}"
    for url, is_right in (("http://a", True), ("''", False), ("http://b", False)):
        (stage.source / "deliverables.yaml").write_text(found % url)
        raised = nullcontext() if is_right else pytest.raises(Failed, match="it has")
        with raised, stage.step("read"):
            read_deliverables(stage, "v1")
