"""Builds: each script's exact calls, what it says meanwhile, and what it leaves behind."""

import subprocess

import pytest

from tests.conventions.deployment import BY_NAME
from tests.services.deployment.calls import describe, submit
from tests.services.deployment.deploys import MODELS
from tests.services.deployment.project import Project

ONE_BUILD = sorted(set(BY_NAME) - {"v3_backend"})


def revision(project: Project) -> str:
    """Return the commit that the copy is at."""
    return project.git("rev-parse", "HEAD").strip()


def substitutions(project: Project) -> dict[str, str]:
    """Return what the first build was told."""
    (given,) = [word for word in project.calls()[0] if word.startswith("--substitutions=^|^")]
    pairs = given.removeprefix("--substitutions=^|^").split("|")
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("name", ONE_BUILD)
def test_submit_makes_these_calls_and_records_the_build(name: str, project: Project) -> None:
    result = project.run(f"submit_build_{name}.sh")
    assert (result.returncode, result.stdout) == (0, "build-1\n"), result.stderr
    component = BY_NAME[name]
    assert project.calls() == [
        submit(name, component.base, name, revision(project)),
        describe("build-1"),
    ]
    assert project.deliverable(f"{component.deliverable}.build_id") == "build-1"


def test_submit_of_v3_backends_builds_one_image_after_another(project: Project) -> None:
    builds = [f"build-{model}" for model in MODELS]
    project.answer("gcloud", "submit", says=[f"{build}\n" for build in builds])
    result = project.run("submit_build_v3_backend.sh")
    assert (result.returncode, result.stdout.split()) == (0, builds)
    calls = iter(project.calls())
    for model, build in zip(MODELS, builds, strict=True):
        image = f"v3_backend_{model}"
        wanted = submit("v3_backend", "backend_base", image, revision(project), models=model)
        assert next(calls) == wanted
        assert next(calls) == describe(build)
        assert project.deliverable(f"services.v3.back_ends.{model}.build_id") == build
    assert next(calls, None) is None


def test_submit_of_v3_backends_builds_those_named(project: Project) -> None:
    result = project.run("submit_build_v3_backend.sh", MODELS="vgg16,efficientnet_lite2")
    assert result.returncode == 0
    told = [call[7] for call in project.calls() if call[2] == "submit"]
    assert [each.rpartition("|_MODELS=")[2] for each in told] == ["vgg16", "efficientnet_lite2"]
    added = project.deliverable("services.v3.back_ends.efficientnet_lite2.build_id")
    assert added == "build-1"


def test_model_name_goes_into_backend_v1_s_image(project: Project) -> None:
    project.run("submit_build_backend_v1.sh", MODEL_NAME="efficientnet_lite0")
    assert substitutions(project)["_MODELS"] == "efficientnet_lite0"


def test_models_of_backend_v2_keep_their_commas(project: Project) -> None:
    project.run("submit_build_backend_v2.sh", MODELS="swin_b,vgg16")
    assert substitutions(project)["_MODELS"] == "swin_b,vgg16"


@pytest.mark.parametrize("name", ["backend_v1", "backend_v2", "v3_backend"])
def test_precision_goes_into_the_image_of_every_backend(name: str, project: Project) -> None:
    project.run(f"submit_build_{name}.sh", PRECISION="int8")
    assert substitutions(project)["_PRECISION"] == "int8"


def test_changed_code_is_marked_in_the_revision(project: Project) -> None:
    with (project.root / "deployment" / "lib.sh").open("a") as lib:
        lib.write("# changed\n")
    project.run("submit_build_frontend_v1.sh")
    assert substitutions(project)["_REVISION"] == f"{revision(project)}-dirty"


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://me:word@git.example/a.git", "https://git.example/a.git"),
        ("https://me:w@rd@git.example/a.git", "https://git.example/a.git"),
        ("https://ghs_token@git.example/a/b@c.git", "https://git.example/a/b@c.git"),
        ("ssh://git@git.example:22/a.git", "ssh://git.example:22/a.git"),
        ("git@git.example:a/b.git", "git@git.example:a/b.git"),
    ],
)
def test_password_in_the_remote_s_address_reaches_no_command_line(
    remote: str, source: str, project: Project
) -> None:
    project.git("remote", "set-url", "origin", remote)
    project.run("submit_build_frontend_v1.sh")
    assert substitutions(project)["_SOURCE"] == source


def test_code_without_a_repository_is_built_too(project: Project) -> None:
    (project.root / ".git").rename(project.folder / "not-git")
    assert project.run("submit_build_frontend_v1.sh").returncode == 0
    told = substitutions(project)
    assert (told["_SOURCE"], told["_REVISION"]) == ("unknown", "unknown")


def run_with_states(project: Project, *states: str) -> subprocess.CompletedProcess[str]:
    """Return how a submit ends whose build goes through these states."""
    project.answer("gcloud", "builds", "describe", says=list(states))
    return project.run("submit_build_backend_v1.sh")


def test_progress_says_once_when_a_step_begins_and_when_it_ends(project: Project) -> None:
    result = run_with_states(
        project,
        "QUEUED\t\tpull\nQUEUED\t\tbuild the app\n",
        "WORKING\tWORKING\tpull\nWORKING\t\tbuild the app\n",
        "WORKING\tWORKING\tpull\nWORKING\t\tbuild the app\n",
        "WORKING\tSUCCESS\tpull\nWORKING\tWORKING\tbuild the app\n",
        "SUCCESS\tSUCCESS\tpull\nSUCCESS\tSUCCESS\tbuild the app\n",
    )
    assert result.returncode == 0
    assert [line for line in result.stderr.splitlines() if line.startswith("  ")] == [
        "  WORKING pull",
        "  SUCCESS pull",
        "  WORKING build the app",
        "  SUCCESS build the app",
    ]
    assert len([call for call in project.calls() if call[2] == "describe"]) == 5


@pytest.mark.parametrize("status", ["FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])
def test_build_that_fails_shows_the_end_of_its_log(status: str, project: Project) -> None:
    before = (project.root / "deliverables.yaml").read_text()
    lines = "".join(f"line {number}\n" for number in range(100))
    project.answer("gcloud", "builds", "log", says=lines)
    result = run_with_states(project, f"{status}\t{status}\tbuild the app\n")
    assert (result.returncode, result.stdout) == (1, "")
    assert "\nline 99\n" in result.stderr
    assert "line 10\n" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert f"build build-1 ended with {status}" in last
    assert "gcloud builds log build-1 --region=" in last
    assert (project.root / "deliverables.yaml").read_text() == before


def test_build_that_fails_without_a_log_still_says_so(project: Project) -> None:
    project.answer("gcloud", "builds", "log", status=1, complains="no log\n")
    result = run_with_states(project, "FAILURE\tFAILURE\tbuild the app\n")
    assert result.returncode == 1
    assert "build build-1 ended with FAILURE" in result.stderr


def test_v3_backend_that_fails_to_build_leaves_out_the_rest(project: Project) -> None:
    project.answer("gcloud", "submit", says=["build-1\n", "build-2\n"])
    project.answer("gcloud", "describe", "build-2", says="FAILURE\tFAILURE\tbuild\n")
    result = project.run("submit_build_v3_backend.sh")
    assert (result.returncode, result.stdout) == (1, "build-1\n")
    first, second = MODELS[:2]
    assert project.deliverable(f"services.v3.back_ends.{first}.build_id") == "build-1"
    assert project.deliverable(f"services.v3.back_ends.{second}.build_id") == ""
    assert len([call for call in project.calls() if call[2] == "submit"]) == 2
