"""What all deployment scripts have in common, run for real with stand-ins for gcloud and curl."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.services.deployment.project import PROJECT, Project

DEPLOYMENT = Path(__file__).resolve().parents[3] / "deployment"
OFFLINE = {"lib.sh", "components.sh", "write_cloudbuild.sh"}  # sourced, or of no project
SCRIPTS = sorted({path.name for path in DEPLOYMENT.glob("*.sh")} - OFFLINE)
OF_A_COMPONENT = ("rollback.sh", "deploy_service_template.sh", "submit_build_template.sh")
WITHOUT_WORDS = [name for name in SCRIPTS if name not in OF_A_COMPONENT]
VARIABLES = ("PROJECT_ID", "REGION", "REPO_NAME", "REGISTRY")


def words(script: str) -> list[str]:
    """Return the arguments that a script cannot do without."""
    return ["backend_v1"] if script in OF_A_COMPONENT else []


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
    "backend": {"PRIVATE", "PRECISION"},
    "frontend": set(),
    "gateway": {"PRIVATE", "MODELS"},
}
ALL_USE = {"BUILD_REGION", "TAG", "MIN_INSTANCES", "MAX_INSTANCES"}
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


@pytest.mark.parametrize("name", ["backend_v1", "v3_backend_swin_b"])
def test_template_may_be_called_with_a_component(name: str, project: Project) -> None:
    direct = project.run("deploy_service_template.sh", name)
    url = f"https://{name.replace('_', '-')}.a.run.app\n"
    assert (direct.returncode, direct.stdout) == (0, url)


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_word_prints_the_usage_and_does_nothing(script: str, project: Project) -> None:
    result = project.run(script, "--fast")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'--fast'" in result.stderr
    assert "  deployment/" in result.stderr
    assert project.record() == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_project_says_which_variable(script: str, project: Project) -> None:
    project.answer("gcloud", "config", "get-value", says="", complains="(unset)\n")
    result = project.run(script, *words(script), PROJECT_ID=None)
    assert (result.returncode, result.stdout) == (1, "")
    said = f"set PROJECT_ID, for example: PROJECT_ID=... deployment/{script}"
    assert said in result.stderr
    assert project.calls() == [["gcloud", "config", "get-value", "project"]]


@pytest.mark.parametrize("script", SCRIPTS)
def test_project_is_gcloud_s_own_unless_told(script: str, project: Project) -> None:
    project.run(script, *words(script), PROJECT_ID=None, MODELS="swin_b", stdin="no\n")
    asked, *calls = project.calls()
    assert asked == ["gcloud", "config", "get-value", "project"]
    assert calls
    assert "project-of-gcloud" in str(calls)
    assert PROJECT not in str(calls)


@pytest.mark.parametrize(
    ("given", "found", "said"),
    [
        ("My Project", "my-project-7\n", "'My Project' is no project id, which has"),
        ("My Project", "my-project-7\n", "set PROJECT_ID to my-project-7"),
        ("My-Project", "", "set PROJECT_ID to one that `gcloud projects list` shows"),
        ("example.com:proj", "", "the project example.com:proj belongs to a domain"),
        ("12345", "", "no project with the number 12345 that you may see"),
    ],
)
def test_project_that_is_no_id_is_refused_with_what_it_should_be(
    given: str, found: str, said: str, project: Project
) -> None:
    project.answer("gcloud", "projects", "list", f'--filter=name="{given}"', says=found)
    project.answer("gcloud", "projects", "describe", "12345", status=1)
    result = project.run("setup.sh", PROJECT_ID=given)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr
    assert len(project.calls()) <= 1


def test_number_of_a_project_is_as_good_as_its_id(project: Project) -> None:
    assert project.run("setup.sh", PROJECT_ID="123456789012").returncode == 0
    _, *calls = project.calls()
    assert "123456789012" not in str(calls)
    assert f"--project={PROJECT}" in calls[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_gcloud_says_so(script: str, project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("env", "bash", "dirname", "basename", "awk", "sed", "git"):
        (tools / name).symlink_to(shutil.which(name) or os.devnull)
    result = project.run(script, *words(script), PATH=str(tools))
    assert (result.returncode, result.stdout) == (1, "")
    assert "gcloud is missing: install the Google Cloud CLI" in result.stderr


@pytest.mark.parametrize("script", WITHOUT_WORDS)
def test_project_region_repository_and_registry_have_their_effect(
    script: str, project: Project
) -> None:
    project.run(
        script,
        stdin=f"{PROJECT}\n",
        MODELS="swin_b",
        REGION="europe-west1",
        REPO_NAME="other-repo",
        REGISTRY="registry.example",
    )
    calls = [" ".join(call) for call in project.calls()]
    assert not [call for call in calls if "northamerica" in call or "/imgserve/" in call]
    regional = [call for call in calls if " builds " in call or " run " in call]
    assert [call for call in regional if "--region=europe-west1" not in call] == []
    if script.startswith(("submit", "deploy")):
        images = [call for call in calls if "_APP_URI" in call or "--image=" in call]
        assert images
        assert all(f"=registry.example/{PROJECT}/other-repo/" in call for call in images)


@pytest.mark.parametrize("script", ["submit_build_backend_v1.sh", "deploy_backend_v1.sh"])
def test_registry_is_the_region_s_unless_told(script: str, project: Project) -> None:
    project.run(script, stdin=f"{PROJECT}\n", REGION="europe-west1")
    calls = [" ".join(call) for call in project.calls()]
    images = [call for call in calls if "_APP_URI" in call or "--image=" in call]
    assert all(f"=europe-west1-docker.pkg.dev/{PROJECT}/imgserve/" in call for call in images)


@pytest.mark.parametrize("script", ["submit_build_backend_v1.sh", "deploy_v3_gateway.sh"])
@pytest.mark.parametrize("folder", [".", "deployment", "v3/gateway"])
def test_script_may_be_called_from_anywhere(script: str, folder: str, project: Project) -> None:
    cwd = project.root / folder
    called = os.path.relpath(project.root / "deployment" / script, cwd)
    result = project.run(script, called=called if "/" in called else f"./{called}", cwd=cwd)
    assert result.returncode == 0, result.stderr
    if script.startswith("submit"):
        (call,) = [call for call in project.calls() if call[1:3] == ["builds", "submit"]]
        assert (cwd / call[3]).resolve() == project.root
        config = next(word.partition("=")[2] for word in call if word.startswith("--config="))
        assert (cwd / config).resolve() == (
            project.root / "deployment" / "cloudbuild_backend_v1.yaml"
        )
    else:
        assert project.deliverable("services.v3.gateway.service_url") == (
            "https://v3-gateway.a.run.app"
        )
