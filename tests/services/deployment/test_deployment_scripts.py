"""The scripts beyond what their transcripts show, run with stand-ins for gcloud and curl."""

import base64
import json
import os
import shutil
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import pytest

from tests.servers import Files, served
from tests.services.deployment.project import PROJECT, Project, git


@pytest.mark.parametrize(
    "command", ["check.sh", "setup.sh", "deploy_backend_v1.sh", "rollback.sh backend_v1"]
)
def test_missing_gcloud_says_so(command: str, project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "bash", "dirname", "basename", "awk", "sed", "git"):
        (tools / name).symlink_to(shutil.which(name) or os.devnull)
    result = project.run(*command.split(), PATH=str(tools))
    assert (result.returncode, result.stdout) == (1, "")
    assert "gcloud is missing: install the Google Cloud CLI" in result.stderr


@pytest.mark.parametrize("folder", [".", "deployment", "v3/gateway"])
def test_script_may_be_called_from_anywhere(folder: str, project: Project) -> None:
    cwd = project.root / folder
    called = os.path.relpath(project.root / "deployment" / "submit_build_backend_v1.sh", cwd)
    result = project.execute(called if "/" in called else f"./{called}", cwd=cwd)
    assert result.returncode == 0, result.stderr
    (call,) = [call for call in project.calls() if call[1:3] == ["builds", "submit"]]
    (config,) = [word[9:] for word in call if word.startswith("--config=")]
    assert (cwd / call[3]).resolve() == project.root
    assert (cwd / config).resolve().parent == project.root / "deployment"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_deploy_that_is_interrupted_removes_its_tag(name: str, project: Project) -> None:
    interrupts = f'case "$*" in "run deploy"*) kill -{name} 0; exit 130 ;; esac'
    gcloud = (project.bin / "gcloud").read_text().replace("\nexec", f"\n{interrupts}\nexec")
    (project.bin / "gcloud").write_text(gcloud)
    result = project.run("deploy_backend_v1.sh")
    assert result.returncode != 0
    untag = [call for call in project.calls() if "update-traffic" in call]
    assert [word for call in untag for word in call if "tag" in word] == ["--remove-tags=try-TAG"]
    assert "What backend-v1 serves now is r-00003-ccc." in result.stderr


def test_real_curl_says_what_a_server_answers(root: Path) -> None:
    samples = root / "imgserve" / "samples"
    fetch = 'PAUSE_S=0; source "$0"; fetch "$1" /CREDITS.md rocket.jpg && ! fetch "$1" /absent .'
    with served(partial(Files, directory=samples)) as url:
        command = ["bash", "-uc", fetch, root / "deployment" / "lib.sh", url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == (samples / "CREDITS.md").read_text().strip()
    assert "\n404\nThere is no such address." in done.stderr


# --- builds ---------------------------------------------------------------------------------------


def test_models_of_v3_are_those_of_the_gateway_s_list_unless_told(root: Path) -> None:
    command = ["bash", "-euc", 'source "$0"; v3_models', root / "deployment" / "lib.sh"]
    told = {"PATH": os.environ["PATH"]}
    listed = tomllib.loads((root / "v3" / "gateway" / "backends.toml").read_text())["backends"]
    assert subprocess.check_output(command, env=told, text=True).split() == list(listed)


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://me:word@git.example/a.git", "https://git.example/a.git"),
        ("https://me:w@rd@git.example/a.git", "https://git.example/a.git"),
        ("https://ghs_token@git.example/a/b@c.git", "https://git.example/a/b@c.git"),
        ("ssh://git@git.example:22/a.git", "ssh://git.example:22/a.git"),
        ("git@git.example:a/b.git", "git@git.example:a/b.git"),
        ("", "unknown"),
    ],
)
def test_build_is_told_whose_code_it_is_whether_it_was_changed_and_no_password(
    remote: str, source: str, project: Project
) -> None:
    revision = git(project.root, "rev-parse", "HEAD").strip() + "-dirty"
    with (project.root / "deployment" / "lib.sh").open("a") as lib:
        lib.write("# changed\n")
    if remote:
        git(project.root, "remote", "set-url", "origin", remote)
    else:
        (project.root / ".git").rename(project.folder / "not-git")
        revision = "unknown"
    assert project.run("submit_build_frontend_v1.sh").returncode == 0
    (told,) = [word for word in project.calls()[0] if word.startswith("--substitutions=^|^")]
    assert {f"_SOURCE={source}", f"_REVISION={revision}"} <= {*told.split("|")}


@pytest.mark.parametrize("status", ["FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])
def test_build_that_does_not_end_well_is_not_waited_for(status: str, project: Project) -> None:
    project.answer("gcloud", "builds", "describe", says=f"{status}\t{status}\tbuild the app\n")
    result = project.run("submit_build_backend_v1.sh")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"build build-1 ended with {status}" in result.stderr


# --- a person's own models ------------------------------------------------------------------------

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
    ("arguments", "files"),
    [
        ("pets 'weights|labels'", "models.toml pets.txt trained/pets.pt"),
        ("graph,resnet152 'openvino|labels'", "graph.bin graph.xml models.toml pets.txt"),
        ("far weights", "models.toml"),
        ("resnet152 weights", ""),
        ("pets samples own_samples", "own_samples/a.jpg"),
        ("graph samples own_samples", ""),
        ("'' samples own_samples", ""),
    ],
)
def test_a_build_is_sent_the_files_that_are_described(
    arguments: str, files: str, described: Project
) -> None:
    script = f'set -euo pipefail; source "$0"; send_own_files {arguments}'
    command = ["bash", "-c", script, described.root / "deployment" / "lib.sh"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    folder = described.root / ".own_models"
    found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == files.split()
    assert ("Sending " in done.stderr) == bool(files)


@pytest.mark.parametrize(
    ("name", "environ", "said"),
    [
        ("backend_v1", {"MODEL_NAME": "pets"}, "Sending the files of pets: "),
        ("frontend_v2", {"MODELS": "pets,graph"}, "Sending the samples of pets: "),
        ("backend_v1", {"MODEL_NAME": "outside"}, "names ../secret.pt for outside, which cannot"),
        ("backend_v1", {"MODEL_NAME": "absent"}, "names absent.onnx for absent, which is not"),
        ("backend_v1", {"MODELS_FILE": "no.toml"}, "MODELS_FILE=no.toml is not there"),
    ],
)
def test_nothing_is_left_of_what_was_sent_and_what_cannot_be_sent_ends_it_before_a_build(
    name: str, environ: dict[str, str], said: str, described: Project
) -> None:
    done = described.run(f"submit_build_{name}.sh", **environ)
    is_sent = said.startswith("Sending")
    assert (done.returncode, bool(described.record())) == (0 if is_sent else 1, is_sent)
    assert said in done.stderr
    assert not (described.root / ".own_models").exists()


def test_setup_lets_the_builds_account_read_where_a_model_comes_from(described: Project) -> None:
    assert described.run("setup.sh").returncode == 0
    grants = [call[4:] for call in described.calls() if "buckets" in call and "add-iam" in call[3]]
    assert [bucket for bucket, *_ in grants] == ["gs://my-project-imgserve-source", "gs://bucket"]
    assert "--role=roles/storage.objectViewer" in grants[1]


# --- setup.sh and teardown.sh ---------------------------------------------------------------------


def test_secret_is_random_and_on_no_command_line(project: Project) -> None:
    project.answer("gcloud", "describe", status=1, complains="ERROR: NOT_FOUND\n")
    assert "NOT_FOUND" not in project.run("setup.sh").stderr
    made = {call.stdin for call in project.record() if "--data-file=-" in call.argv}
    assert [len(base64.b64decode(secret, validate=True)) for secret in made] == [32] * 2
    assert [secret for secret in made if secret in str(project.calls())] == []


def test_source_code_in_the_bucket_is_deleted_after_a_week(project: Project) -> None:
    rules = json.loads((project.root / "deployment" / "source_lifecycle.json").read_text())
    assert rules == {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7}}]}


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "", f"{PROJECT}-2\n", PROJECT[:-1]])
def test_teardown_deletes_nothing_on_another_answer(answer: str, project: Project) -> None:
    result = project.run("teardown.sh", stdin=answer)
    assert result.returncode == 1
    assert "nothing was deleted" in result.stderr
    assert len(project.calls()) == 1
