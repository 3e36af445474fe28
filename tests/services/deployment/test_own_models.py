"""What a build is sent of a person's own models: what their description names, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.services.deployment.project import Project

DESCRIPTION = """\
[pets]
title = "Pets"
weights = "trained/pets.pt"  # of last week
labels = 'pets.txt'
samples = "some pets"

[far]
title = "Far"
weights = "gs://bucket/far.pt"
labels = ["a", "b"]

[graph]
title = "Graph"
openvino = "graph.xml"
labels = "pets.txt"

[outside]
title = "Outside"
weights = "../secret.pt"

[absent]
title = "Absent"
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


def sent(project: Project, function: str, models: str) -> tuple[set[str], str]:
    """Return the files that a build would find, and what was said."""
    script = f"set -euo pipefail; source deployment/lib.sh; {function} {models}"
    shutil.rmtree(project.root / ".own_models", ignore_errors=True)
    done = subprocess.run(
        ["bash", "-c", script], cwd=project.root, capture_output=True, text=True, check=False
    )
    folder = project.root / ".own_models"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return files, done.stderr


@pytest.mark.parametrize(
    ("models", "files"),
    [
        ("pets", {"models.toml", "trained/pets.pt", "pets.txt"}),
        ("graph,resnet152", {"models.toml", "graph.xml", "graph.bin", "pets.txt"}),
        ("far", {"models.toml"}),
        ("resnet152", set()),
    ],
)
def test_a_build_is_sent_what_its_models_are_made_from(
    models: str, files: set[str], described: Project
) -> None:
    found, said = sent(described, "send_own_models", models)
    assert found == files
    assert ("is made from: " in said) == bool(files)


def test_a_page_is_sent_the_samples_of_its_first_model(described: Project) -> None:
    assert sent(described, "send_own_samples", "pets,graph")[0] == {"own_samples/a.jpg"}
    for models in ("graph,pets", "''"):
        assert sent(described, "send_own_samples", models)[0] == set()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("outside", "names ../secret.pt for outside, which cannot be sent"),
        ("absent", "names absent.onnx for absent, which is not there"),
    ],
)
def test_what_cannot_be_sent_ends_it_before_a_build(
    model: str, said: str, described: Project
) -> None:
    done = described.run("submit_build_backend_v1.sh", MODEL_NAME=model)
    assert done.returncode == 1
    assert said in done.stderr
    assert described.record() == []
    assert not (described.root / ".own_models").exists()


def test_setup_lets_the_builds_account_read_where_a_model_comes_from(described: Project) -> None:
    assert described.run("setup.sh").returncode == 0
    words = [call["argv"] for call in described.record()]
    calls = [one for one in words if "add-iam-policy-binding" in one and "buckets" in one]
    assert len(calls) == 2  # of the source's bucket, and of the model's
    assert "gs://bucket" in calls[1]
    assert "--role=roles/storage.objectViewer" in calls[1]


def test_nothing_is_left_behind_when_it_was_sent(described: Project, tmp_path: Path) -> None:
    done = described.run("submit_build_backend_v1.sh", MODEL_NAME="pets")
    assert done.returncode == 0, done.stderr
    assert "Sending what pets is made from: " in done.stderr
    assert not (described.root / ".own_models").exists()
    missing = described.run("submit_build_backend_v1.sh", MODELS_FILE=str(tmp_path / "no.toml"))
    assert missing.returncode == 1
    assert "no.toml is not there" in missing.stderr


@pytest.mark.parametrize(("letters", "status"), [(20, 0), (21, 1)])
def test_a_name_that_leaves_no_room_for_a_tag_is_refused_before_the_first_deploy(
    project: Project, letters: int, status: int
) -> None:
    done = project.run("deploy_v3_backend.sh", MODELS="p" * letters)
    assert done.returncode == status, done.stderr
    assert ("may have 20 characters" in done.stderr) == bool(status)
    assert any("deploy" in str(words) for words in project.record()) == (not status)
