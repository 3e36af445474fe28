"""What all deployment scripts have in common, run for real with stand-ins for gcloud and curl."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.services.deployment.project import PROJECT, Project

DEPLOYMENT = Path(__file__).resolve().parents[3] / "deployment"
OFFLINE = {"lib.sh", "components.sh", "write_yaml.sh"}  # sourced, or of no project
SCRIPTS = sorted({path.name for path in DEPLOYMENT.glob("*.sh")} - OFFLINE)
OF_A_COMPONENT = ("rollback.sh", "deploy_service_template.sh", "submit_build_template.sh")
VARIABLES = ("PROJECT_ID", "REGION", "REPO_NAME", "REGISTRY")


@pytest.mark.parametrize("script", SCRIPTS)
def test_h_prints_what_the_script_does_and_reads(script: str, project: Project) -> None:
    result = project.run(script, "-h", PROJECT_ID=None)
    assert (result.returncode, result.stderr) == (0, "")
    assert "  deployment/" in result.stdout
    assert [name for name in VARIABLES if f"  {name} " not in result.stdout] == []
    assert "shellcheck" not in result.stdout
    assert project.run(script, "--help", PROJECT_ID=None).stdout == result.stdout
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


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_word_prints_the_usage_and_does_nothing(script: str, project: Project) -> None:
    result = project.run(script, "--fast")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'--fast'" in result.stderr
    assert "  deployment/" in result.stderr
    assert project.record() == []


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("gclouds_own", ["project-of-gcloud", ""])
def test_project_is_gcloud_s_own_unless_told_and_where_there_is_none_the_variable_is_named(
    gclouds_own: str, script: str, project: Project
) -> None:
    project.answer("gcloud", "config", "get-value", says=gclouds_own, complains="(unset)\n")
    words = ["backend_v1"] if script in OF_A_COMPONENT else []
    result = project.run(script, *words, PROJECT_ID=None, MODELS="swin_b", stdin="no\n")
    asked, *calls = project.calls()
    assert asked == ["gcloud", "config", "get-value", "project"]
    assert ("project-of-gcloud" in str(calls)) == bool(calls) == bool(gclouds_own)
    assert PROJECT not in str(calls)
    told = f"set PROJECT_ID, for example: PROJECT_ID=... deployment/{script}" in result.stderr
    assert told == (not gclouds_own)


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_gcloud_says_so(script: str, project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "bash", "dirname", "basename", "awk", "sed", "git"):
        (tools / name).symlink_to(shutil.which(name) or os.devnull)
    words = ["backend_v1"] if script in OF_A_COMPONENT else []
    result = project.run(script, *words, PATH=str(tools))
    assert (result.returncode, result.stdout) == (1, "")
    assert "gcloud is missing: install the Google Cloud CLI" in result.stderr


@pytest.mark.parametrize("script", ["submit_build_backend_v1.sh", "deploy_v3_gateway.sh"])
@pytest.mark.parametrize("folder", [".", "deployment", "v3/gateway"])
def test_script_may_be_called_from_anywhere(script: str, folder: str, project: Project) -> None:
    cwd = project.root / folder
    called = os.path.relpath(project.root / "deployment" / script, cwd)
    result = project.run(script, called=called if "/" in called else f"./{called}", cwd=cwd)
    assert result.returncode == 0, result.stderr
    for call in project.calls():
        if call[1:3] == ["builds", "submit"]:
            (config,) = [word[9:] for word in call if word.startswith("--config=")]
            assert (cwd / call[3]).resolve() == project.root
            assert (cwd / config).resolve().parent == project.root / "deployment"


# --- setup.sh and teardown.sh ---------------------------------------------------------------------


def secrets(project: Project) -> list[str]:
    """Return what setup.sh made the secrets of."""
    project.forget()
    project.answer("gcloud", "describe", status=1, complains="ERROR: NOT_FOUND\n")
    assert "NOT_FOUND" not in project.run("setup.sh").stderr
    return [each["stdin"] for each in project.record() if "--data-file=-" in each["argv"]]


def test_secret_is_random_and_on_no_command_line(project: Project) -> None:
    made = secrets(project)
    assert [len(base64.b64decode(each, validate=True)) for each in made] == [32, 32]
    assert [each for each in made if each in str(project.calls())] == []
    assert len({*made, *secrets(project)}) == 4


def test_source_code_in_the_bucket_is_deleted_after_a_week(project: Project) -> None:
    rules = json.loads((project.root / "deployment" / "source_lifecycle.json").read_text())
    assert rules == {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7}}]}


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "", None, f"{PROJECT}-2\n", PROJECT[:-1]])
def test_teardown_deletes_nothing_on_another_answer(answer: str | None, project: Project) -> None:
    result = project.run("teardown.sh", stdin=answer)
    assert result.returncode == 1
    assert "nothing was deleted" in result.stderr
    assert len(project.calls()) == 1
