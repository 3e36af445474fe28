"""Builds, beyond what their transcripts show: what they are told, and how they may end."""

import re
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


@pytest.mark.parametrize("status", ["FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])
def test_build_that_does_not_end_well_is_not_waited_for(status: str, project: Project) -> None:
    project.answer("gcloud", "builds", "describe", says=f"{status}\t{status}\tbuild the app\n")
    result = project.run("submit_build_backend_v1.sh")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"build build-1 ended with {status}" in result.stderr
