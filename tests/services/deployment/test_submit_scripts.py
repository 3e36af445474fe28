"""Builds, beyond what their transcripts show: what they are told, and how they may end."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conventions.deployment import NAMES
from tests.services.deployment.project import Project


def substitutions(project: Project) -> dict[str, str]:
    """Return what the first build was told."""
    (given,) = [word for word in project.calls()[0] if word.startswith("--substitutions=^|^")]
    pairs = given.removeprefix("--substitutions=^|^").split("|")
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("script", ["submit_build_v3_backend.sh", "deploy_v3_backend.sh"])
def test_v3_has_the_models_of_the_gateway_s_list_unless_told(
    script: str, project: Project, root: Path
) -> None:
    listed = tomllib.loads((root / "v3" / "gateway" / "backends.toml").read_text())["backends"]
    assert project.run(script).returncode == 0
    made = [" ".join(call) for call in project.calls() if {"submit", "deploy"} & set(call)]
    assert len(made) == len(listed)
    for call, model in zip(made, listed, strict=True):
        assert re.search(rf"/v3_backend_{model}[:|]", call)


def test_models_may_have_spaces_between_them_and_a_comma_at_the_end(project: Project) -> None:
    result = project.run("submit_build_v3_backend.sh", MODELS="swin_b, vgg16,")
    assert (result.returncode, result.stdout) == (0, "build-1\n" * 2)
    assert result.stderr.startswith("swin_b:\n")


def test_model_that_deliverables_yaml_does_not_have_is_added(project: Project) -> None:
    assert project.run("submit_build_v3_backend.sh", MODELS="efficientnet_lite2").returncode == 0
    added = project.deliverable("services.v3.back_ends.efficientnet_lite2.build_id")
    assert added == "build-1"


@pytest.mark.parametrize("name", NAMES)
def test_precision_goes_into_the_images_of_backends_alone(name: str, project: Project) -> None:
    project.run(f"submit_build_{name}.sh", PRECISION="int8", MODELS="swin_b", MODEL_NAME="swin_b")
    told = {"_MODELS": "swin_b", "_PRECISION": "int8"} if "backend" in name else {}
    found = substitutions(project)
    assert {key: found[key] for key in ("_MODELS", "_PRECISION") if key in found} == told


def test_changed_code_is_marked_in_the_revision(project: Project) -> None:
    commit = project.git("rev-parse", "HEAD").strip()
    with (project.root / "deployment" / "lib.sh").open("a") as lib:
        lib.write("# changed\n")
    project.run("submit_build_frontend_v1.sh")
    assert substitutions(project)["_REVISION"] == f"{commit}-dirty"


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


def test_region_where_the_project_may_not_build_is_told_with_those_where_it_may(
    project: Project,
) -> None:
    refused = (
        "ERROR: FAILED_PRECONDITION: due to quota restrictions, cannot run builds in this region"
    )
    project.answer("gcloud", "builds", "submit", status=1, complains=f"Uploading\n{refused}")
    result = project.run("submit_build_backend_v1.sh")
    assert (result.returncode, result.stdout) == (1, "")
    uploading, error, said = result.stderr.splitlines()
    assert (uploading, error) == ("Uploading", refused)
    assert (
        "may not build in northamerica-northeast1. Set BUILD_REGION to one of us-central1," in said
    )
    assert len(project.calls()) == 1


def test_build_that_fails_without_a_log_still_says_so(project: Project) -> None:
    project.answer("gcloud", "builds", "log", status=1, complains="no log\n")
    result = run_with_states(project, "FAILURE\tFAILURE\tbuild the app\n")
    assert result.returncode == 1
    assert "build build-1 ended with FAILURE" in result.stderr


def test_v3_backend_that_fails_to_build_leaves_out_the_rest(project: Project) -> None:
    project.answer("gcloud", "submit", says=["build-1\n", "build-2\n"])
    project.answer("gcloud", "describe", "build-2", says="FAILURE\tFAILURE\tbuild\n")
    result = project.run("submit_build_v3_backend.sh", MODELS="swin_b,vgg16,resnet152")
    assert (result.returncode, result.stdout) == (1, "build-1\n")
    assert project.deliverable("services.v3.back_ends.swin_b.build_id") == "build-1"
    assert project.deliverable("services.v3.back_ends.vgg16.build_id") == ""
    assert len([call for call in project.calls() if call[2] == "submit"]) == 2
