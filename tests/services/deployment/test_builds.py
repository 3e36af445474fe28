"""Builds, beyond what their transcripts show: what they are told and sent, and how they may end."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.services.deployment.project import Project, git


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


def test_changed_code_is_marked_in_the_revision(project: Project) -> None:
    commit = git(project.root, "rev-parse", "HEAD").strip()
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
    git(project.root, "remote", "set-url", "origin", remote)
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


# --- a person's own models -----------------------------------------------------------------------

DESCRIPTION = """\
[pets]
weights = "trained/pets.pt"  # of last week
labels = 'pets.txt'
samples = "some pets"

[far]
weights = "gs://bucket/far.pt"
labels = ["a", "b"]

[graph]
openvino = "graph.xml"
labels = "pets.txt"

[outside]
weights = "../secret.pt"

[absent]
onnx = "absent.onnx"
"""


@pytest.fixture
def described(project: Project) -> Project:
    """Return a project with a description and what it names."""
    (project.root / "models.toml").write_text(DESCRIPTION)
    for name in ("trained/pets.pt", "pets.txt", "some pets/a.jpg", "graph.xml", "graph.bin"):
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(name)
    return project


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("send_own_models pets", "models.toml pets.txt trained/pets.pt"),
        ("send_own_models graph,resnet152", "graph.bin graph.xml models.toml pets.txt"),
        ("send_own_models far", "models.toml"),
        ("send_own_models resnet152", ""),
        ("send_own_samples pets,graph", "own_samples/a.jpg"),
        ("send_own_samples graph,pets", ""),
        ("send_own_samples ''", ""),
    ],
)
def test_a_build_is_sent_what_its_own_models_are_made_from_or_its_first_one_s_samples(
    command: str, files: str, described: Project
) -> None:
    script = f"set -euo pipefail; source deployment/lib.sh; {command}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=described.root, capture_output=True, text=True, check=True
    )
    folder = described.root / ".own_models"
    found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == files.split()
    assert ("Sending " in done.stderr) == bool(files)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MODEL_NAME": "outside"}, "names ../secret.pt for outside, which cannot be sent"),
        ({"MODEL_NAME": "absent"}, "names absent.onnx for absent, which is not there"),
        ({"MODELS_FILE": "no.toml"}, "MODELS_FILE=no.toml is not there"),
    ],
)
def test_what_cannot_be_sent_ends_it_before_a_build(
    environ: dict[str, str], said: str, described: Project
) -> None:
    done = described.run("submit_build_backend_v1.sh", **environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert described.record() == []
    assert not (described.root / ".own_models").exists()


def test_nothing_is_left_behind_when_it_was_sent(described: Project) -> None:
    done = described.run("submit_build_backend_v1.sh", MODEL_NAME="pets")
    assert done.returncode == 0, done.stderr
    assert "Sending what pets is made from: " in done.stderr
    assert not (described.root / ".own_models").exists()


def test_setup_lets_the_builds_account_read_where_a_model_comes_from(described: Project) -> None:
    assert described.run("setup.sh").returncode == 0
    grants = [
        call for call in described.calls() if call[2:4] == ["buckets", "add-iam-policy-binding"]
    ]
    assert [call[4] for call in grants] == ["gs://my-project-imgserve-source", "gs://bucket"]
    assert "--role=roles/storage.objectViewer" in grants[1]
