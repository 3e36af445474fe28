"""The steps of a rehearsal and what is said of them."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tools.rehearsal import asking
from tools.rehearsal.__main__ import shell
from tools.rehearsal.docker import Docker
from tools.rehearsal.progress import Progress, Step, StepFailed
from tools.rehearsal.rehearsal import Rehearsal
from tools.rehearsal.report import Build, Layer, by_purpose, document, table
from tools.rehearsal.scenario import compare, sides_of
from tools.rehearsal.stage import PACKAGED, Stage, models_here
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


def stage(source: Path, progress: Progress, path: str = "/usr/bin:/bin", **more: Any) -> Stage:
    """Return a stage with a copy of the repository and no cloud."""
    environ = {"PATH": path}
    docker = Docker(environ, True, source)
    return Stage(Rehearsal(source, "", docker, Store("rehearsal"), environ), progress, **more)


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


def stumble(progress: Progress) -> None:
    """Fail in a step, after a hundred lines in its log."""
    with progress.step("look around") as step:
        step.log.write_text("\n".join(f"line {number}." for number in range(100)))
        raise StepFailed("it is dark")


def test_a_step_shows_its_name_time_and_findings(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.step("look around") as step:
        step.note("all is well")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("look around ... 0.")
    assert shown.err.endswith(" s\n    all is well\n")


def test_a_step_that_fails_shows_the_end_of_its_log(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed, match=r"^look around: it is dark$"):
        stumble(progress)
    (step,) = progress.steps
    shown = capsys.readouterr().err
    assert "FAILED\n    it is dark\n" in shown
    assert str(step.log) in shown
    assert "line 59." not in shown
    assert "line 60." in shown
    assert "line 99." in shown
    assert step.failure == "it is dark"


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


def test_a_script_that_should_fail_and_does_not_fails_its_step(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    with pytest.raises(StepFailed, match="should have failed"), progress.step("try") as step:
        scripts("exit 0").run_failing(step, "try.sh")


def test_a_script_that_should_fail_gives_its_reason(
    progress: Progress, scripts: Callable[[str], Stage]
) -> None:
    with progress.step("try") as step:
        tried = scripts("echo first >&2; echo it is broken >&2; exit 1")
        assert tried.run_failing(step, "try.sh") == "it is broken"


def test_layers_are_sorted_by_what_they_are_for() -> None:
    assert {
        name: [layer.digest[-1] for layer in found] for name, found in BUILD.layers.items()
    } == {
        "base": ["a", "b"],
        "models": ["d"],
        "code": ["c", "e"],
    }


CHANGED = [OWN[0], OWN[1], Layer("sha256:f", 400_000, "COPY imgserve")]


def test_two_builds_that_differ_in_code_alone_are_compared() -> None:
    step = Step("compare", Path("log"))
    second = Build("id-2", "backend_v1", 8.0, {"build": 0.0}, by_purpose(BASE, BASE + CHANGED))
    compare(step, BUILD, second)
    assert step.notes == [
        "base: the same 2 layers",
        "models: the same 1 layers",
        "all: 100.0 s, then 8.0 s, 12.5 times as fast",
        "build: 90.0 s, then 0.0 s",
    ]


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


def test_the_table_has_steps_images_and_the_outcome() -> None:
    steps = [Step("start", Path("log"), 2.5), Step("setup.sh", Path("log"), 30.0)]
    text = table(steps, [BUILD], passed=True)
    assert "setup.sh     30.0" in text
    assert "all          32.5" in text
    assert "backend_v1           137.5    120.0     17.0      0.5" in text
    assert text.endswith("\nPASS")


def test_the_table_of_a_failure_says_where() -> None:
    text = table([Step("setup.sh", Path("log"), 1.0, failure="no")], [], passed=False)
    assert "setup.sh FAILED" in text
    assert text.endswith("\nFAIL")


def test_the_document_has_each_build_with_its_steps_and_sizes() -> None:
    steps = [Step("start", Path("log"), 2.5, notes=["ready"])]
    found = document(steps, [BUILD], ["vgg16"], passed=True)
    assert found["steps"] == [{"name": "start", "seconds": 2.5, "notes": ["ready"], "failure": ""}]
    assert found["models"] == ["vgg16"]
    (build,) = found["builds"]
    assert build["steps"] == {"build": 90.0}
    assert build["megabytes"] == {"base": 120.0, "models": 17.0, "code": 0.5}
    assert build["layers"]["models"][0]["digest"] == "sha256:d"


def test_models_are_those_that_the_person_names(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REHEARSE_MODELS", "vgg16,resnet152")
    assert models_here(root) == ("vgg16", "resnet152")
    assert "Models: vgg16, resnet152 only (REHEARSE_MODELS says so" in capsys.readouterr().err


@pytest.mark.parametrize("answers", [True, False])
def test_models_are_limited_where_the_hub_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    answers: bool,
) -> None:
    monkeypatch.delenv("REHEARSE_MODELS", raising=False)
    monkeypatch.setattr("tools.rehearsal.stage._hub_answers", lambda _: answers)
    limited = models_here(root)
    said = capsys.readouterr().err
    assert limited == (() if answers else PACKAGED)
    assert ("their weights are packages" in said) is not answers


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


@pytest.fixture
def in_shell(
    tmp_path: Path,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> tuple[Path, int, str, str]:
    """Return a copy, and what a shell in it returns, prints and is told."""
    copy = tmp_path / "source"
    for name, text in {"deployment/setup.sh": "#!/bin/sh\n", "shell": SHELL}.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
        (copy / name).chmod(0o755)
    monkeypatch.setenv("SHELL", str(copy / "shell"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    status = shell(stage(copy, progress, os.environ["PATH"], models=("vgg16",)))
    printed, said = capfd.readouterr()
    return copy, status, printed, said


def test_shell_is_in_the_copy_with_the_environment_and_the_region(
    in_shell: tuple[Path, int, str, str],
) -> None:
    copy, status, printed, _ = in_shell
    assert printed == f"{copy / '.venv'}\nnorthamerica-northeast1\n"
    assert status == 3


def test_shell_says_what_is_set_what_to_type_and_how_to_leave(
    in_shell: tuple[Path, int, str, str],
) -> None:
    copy, _, _, said = in_shell
    assert str(copy) in said
    assert "Login, project (rehearsal) and region are set" in said
    assert "leave out `gcloud auth login`" in said
    assert "deployment/submit_build_backend_v1.sh && deployment/deploy_backend_v1.sh" in said
    assert "edit backend_v1/app.py here" in said
    assert "`exit` or Ctrl-D leaves, and removes all of it." in said


def test_deliverables_are_read_by_version_and_side() -> None:
    empty = {"build_id": "", "service_url": ""}
    v3 = {"back_ends": {"vgg16": empty, "swin_b": empty}, "gateway": empty}
    assert [name for name, _ in sides_of(v3, "v3")] == [
        "v3.back_ends.vgg16",
        "v3.back_ends.swin_b",
        "v3.gateway",
    ]
