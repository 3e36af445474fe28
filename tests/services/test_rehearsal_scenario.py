"""The steps of a rehearsal and what is said of them."""

import io
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from tools.rehearsal import asking
from tools.rehearsal.__main__ import shell
from tools.rehearsal.docker import Docker
from tools.rehearsal.progress import Progress, Step, StepFailed
from tools.rehearsal.rehearsal import Rehearsal
from tools.rehearsal.report import Build, Layer, by_purpose, document
from tools.rehearsal.scenario import compare, read_deliverables, together
from tools.rehearsal.stage import Scripts, Stage
from tools.rehearsal.store import Store

BASE = [Layer("sha256:a", 30_000_000, "CMD"), Layer("sha256:b", 90_000_000, "install.sh backend")]
OWN = [
    Layer("sha256:c", 100_000, "COPY requirements"),
    Layer("sha256:d", 17_000_000, "python -m imgserve.compile efficientnet_lite0"),
    Layer("sha256:e", 400_000, "COPY imgserve"),
]
BUILD = Build("id-1", "backend_v1", 100.0, {"build": 90.0}, by_purpose(BASE, BASE + OWN))


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "logs")


def stage(source: Path, progress: Progress) -> Stage:
    """Return a stage with a copy of the repository and no cloud."""
    environ = {"PATH": os.environ["PATH"]}
    own = Rehearsal("", Docker(environ), Store("rehearsal"), environ)
    return Stage(own, source, progress, Scripts())


@pytest.fixture
def scripts(tmp_path: Path, progress: Progress) -> Callable[[str], Stage]:
    """Return a function that writes the script ``try.sh`` of a copy."""

    def write(text: str) -> Stage:
        script = tmp_path / "deployment" / "try.sh"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        return stage(tmp_path, progress)

    return write


def test_a_step_shows_its_name_time_and_findings(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.step("look around") as step:
        step.note("all is well")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"look around ...\nlook around: {step.seconds:.1f} s\n    all is well\n"


def stumble(progress: Progress) -> None:
    """Fail in a step, after a hundred lines in its log."""
    with progress.step("look around") as step:
        step.log.write_text("\n".join(f"line {number}." for number in range(100)))
        raise StepFailed("it is dark")


def test_a_step_that_fails_shows_the_end_of_its_log(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed, match=r"^look around: it is dark$"):
        stumble(progress)
    shown = capsys.readouterr().err
    assert "FAILED: it is dark\n" in shown
    assert "line 59." not in shown
    assert "line 60." in shown
    assert "line 99." in shown


def test_a_script_gives_its_lines_and_leaves_the_rest_in_the_log(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    with progress.step("try") as step:
        tried = scripts('echo "$1 $COLOUR"; echo more; echo progress >&2')
        assert tried.run(step, "try.sh", "a", COLOUR="blue") == ["a blue", "more"]
    log = step.log.read_text()
    assert log == "$ COLOUR=blue deployment/try.sh a\nprogress\na blue\nmore\n"


def test_a_script_that_fails_fails_its_step(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    with pytest.raises(StepFailed, match="ended with exit status 3"), progress.step("try") as step:
        scripts("exit 3").run(step, "try.sh")


def test_a_script_that_should_fail_gives_its_reason_or_fails_its_step(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    tried = scripts("echo first >&2; echo it is broken >&2; exit $STATUS")
    with progress.step("try") as step:
        tried.run_failing(step, "try.sh", STATUS="1")
    assert step.notes == ["it is broken"]
    with pytest.raises(StepFailed, match="should have failed"), progress.step("again") as step:
        tried.run_failing(step, "try.sh", STATUS="0")


def test_the_first_failure_ends_what_is_done_side_by_side(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    tried = scripts("[ $STATUS = 3 ] || sleep 60; exit $STATUS")

    def work(stage: Stage, version: str) -> None:
        with progress.step(version) as step:
            stage.run(step, "try.sh", STATUS=version)

    began = time.monotonic()
    with pytest.raises(StepFailed, match=r"^3: deployment/try\.sh ended with exit status 3"):
        together(work, {"0": tried, "3": tried}, 2)
    assert time.monotonic() - began < 30


CHANGED = [OWN[0], OWN[1], Layer("sha256:f", 400_000, "COPY imgserve")]


def test_two_builds_that_differ_in_code_alone_are_compared() -> None:
    step = Step("compare", Path("log"))
    second = Build("id-2", "backend_v1", 8.0, {"build": 0.0}, by_purpose(BASE, BASE + CHANGED))
    compare(step, BUILD, second)
    assert step.notes[:2] == ["base: the same 2 layers", "models: the same 1 layers"]


@pytest.mark.parametrize(
    ("base", "own", "message"),
    [
        ([*BASE[:1], OWN[0]], CHANGED, "layers of the base were made anew"),
        (BASE, [Layer("sha256:g", 1, OWN[1].made_by)], "layers of the models were made anew"),
        (BASE, OWN, "code that was changed is not in the image"),
    ],
)
def test_layers_made_anew_or_not_at_all_fail_the_comparison(
    base: list[Layer], own: list[Layer], message: str
) -> None:
    second = Build("id-2", "backend_v1", 8.0, {}, by_purpose(base, base + own))
    with pytest.raises(StepFailed, match=message):
        compare(Step("compare", Path("log")), BUILD, second)


def test_the_document_has_each_build_with_its_steps_and_sizes() -> None:
    found = document([Step("start", Path("log"), 2.55, ["ready"])], [BUILD])
    assert found["steps"] == [{"name": "start", "seconds": 2.5, "notes": ["ready"]}]
    (build,) = found["builds"]
    assert (build["image"], build["steps"]) == ("backend_v1", {"build": 90.0})
    assert build["megabytes"] == {"base": 120.0, "models": 17.0, "code": 0.5}


def test_an_answer_that_fails_while_asking_fails_the_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = threading.Event()

    def predicted(url: str, picture: Path) -> str:
        asked.set()
        raise requests.ConnectionError("gone")

    monkeypatch.setattr(asking, "predicted", predicted)
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    step = Step("ask", tmp_path)
    with (
        pytest.raises(StepFailed, match=r"failed: \['gone'\]"),
        asking.asking(step, "http://nowhere", Path()),
    ):
        assert asked.wait(30)


def test_who_never_asked_has_shown_nothing(tmp_path: Path) -> None:
    step = Step("ask", tmp_path)
    with (
        pytest.raises(StepFailed, match="of 0 questions"),
        asking.asking(step, "http://nowhere", Path()),
    ):
        pass


SHELL = """\
#!/bin/sh
.venv/bin/python -c 'import flask, sys; print(sys.prefix)'
echo $CLOUDSDK_RUN_REGION
exit 3
"""


def test_shell_is_in_the_copy_with_all_that_is_set_and_says_how_to_leave(
    tmp_path: Path,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "source"
    for name, text in {"deployment/setup.sh": "#!/bin/sh\n", "shell": SHELL}.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
        (copy / name).chmod(0o755)
    monkeypatch.setenv("SHELL", str(copy / "shell"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert shell(stage(copy, progress)) == 3
    printed, said = capfd.readouterr()
    assert printed == f"{copy / '.venv'}\nnorthamerica-northeast1\n"
    assert str(copy) in said
    assert "Login, project (rehearsal) and region are set" in said
    assert "`exit` or Ctrl-D leaves, and removes all of it." in said


def test_deliverables_that_lack_an_address_or_have_another_fail_their_step(
    tmp_path: Path, progress: Progress
) -> None:
    shown = stage(tmp_path, progress)
    shown.builds, shown.urls = [BUILD], {"backend_v1": "http://a"}
    found = "services: {v1: {back_end: {build_id: id-1, service_url: %s}, front_end: {url: ''}}}"
    for url, is_right in (("http://a", True), ("''", False), ("http://b", False)):
        (tmp_path / "deliverables.yaml").write_text(found % url)
        with nullcontext() if is_right else pytest.raises(StepFailed, match="it has"):
            read_deliverables(shown, "v1")
