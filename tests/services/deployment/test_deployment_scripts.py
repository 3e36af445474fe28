"""What all deployment scripts have in common, run for real with stand-ins for gcloud and curl."""

import base64
import json
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.servers import Files, served
from tests.services.deployment.project import PROJECT, Project

# A component's script is three lines, as another test says: one of each verb stands for all.
COMMANDS = (
    *("check.sh", "setup.sh", "teardown.sh", "submit_build_v3_backend.sh", "deploy_backend_v1.sh"),
    "rollback.sh backend_v1",
    "deploy_service_template.sh backend_v1",
    "submit_build_template.sh backend_v1",
)
VARIABLES = ("PROJECT_ID", "REGION", "REPO_NAME", "REGISTRY")
SCRIPTS = [command.split()[0] for command in COMMANDS]
USAGES = [(script, words) for script in SCRIPTS for words in ("-h", "--help", "--fast")]


@pytest.mark.parametrize(("script", "words"), [*USAGES, ("rollback.sh", "backend_v1 -h")])
def test_script_says_what_it_does_and_reads_and_calls_nothing(
    script: str, words: str, project: Project
) -> None:
    result = project.run(script, *words.split(), PROJECT_ID=None)
    if words == "--fast":
        status, said, silent = 2, result.stderr, result.stdout
        assert "'--fast'" in said
    else:
        status, said, silent = 0, result.stdout, result.stderr
    assert (result.returncode, silent) == (status, "")
    assert "  deployment/" in said
    assert [name for name in VARIABLES if f"  {name} " not in said] == []
    assert "shellcheck" not in said
    assert project.record() == []


USES = {
    "backend": {"PRIVATE", "PRECISION", "FETCH_CONTACT", "MODELS_FILE"},
    "frontend": {"MODEL_NAME", "MODELS_FILE", "PAGE_TITLE"},
    "gateway": {"PRIVATE", "MODELS"},
}
ALL_USE = {"BUILD_REGION", "WORKER_POOL", "NO_CACHE", "TAG", "MIN_INSTANCES", "MAX_INSTANCES"}
MORE = {"backend_v1": {"MODEL_NAME"}, "v3_frontend": {"API_GATEWAY"}}


@pytest.mark.parametrize("name", NAMES)
def test_h_names_the_component_and_the_variables_that_it_reads(name: str, project: Project) -> None:
    shown = set()
    for script in (f"submit_build_{name}.sh", f"deploy_{name}.sh"):
        said = project.run(script, "-h").stdout
        assert f"  deployment/{script}\n" in said
        assert name in said.splitlines()[0]
        assert "COMPONENT" not in said
        shown |= set(re.findall(r"^  ([A-Z_]+)  ", said, re.M)) - set(VARIABLES)
    models = {"MODELS"} if name in {"backend_v2", "v3_backend"} else set()
    assert shown == ALL_USE | USES[BY_NAME[name].side] | MORE.get(name, set()) | models


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_gcloud_says_so(command: str, project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "bash", "dirname", "basename", "awk", "sed", "git"):
        (tools / name).symlink_to(shutil.which(name) or os.devnull)
    result = project.run(*command.split(), PATH=str(tools))
    assert (result.returncode, result.stdout) == (1, "")
    assert "gcloud is missing: install the Google Cloud CLI" in result.stderr


@pytest.mark.parametrize("script", ["submit_build_backend_v1.sh", "deploy_v3_gateway.sh"])
@pytest.mark.parametrize("folder", [".", "deployment", "v3/gateway"])
def test_script_may_be_called_from_anywhere(script: str, folder: str, project: Project) -> None:
    cwd = project.root / folder
    called = os.path.relpath(project.root / "deployment" / script, cwd)
    result = project.execute(called if "/" in called else f"./{called}", cwd=cwd)
    assert result.returncode == 0, result.stderr
    for call in project.calls():
        if call[1:3] == ["builds", "submit"]:
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


# --- setup.sh and teardown.sh ---------------------------------------------------------------------


def test_secret_is_random_and_on_no_command_line(project: Project) -> None:
    project.answer("gcloud", "describe", status=1, complains="ERROR: NOT_FOUND\n")
    for _ in range(2):
        assert "NOT_FOUND" not in project.run("setup.sh").stderr
    made = [call.stdin for call in project.record() if "--data-file=-" in call.argv]
    assert [len(base64.b64decode(secret, validate=True)) for secret in made] == [32] * 4
    assert len(set(made)) == 4
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
