"""A workflow of GitHub and a trigger of Cloud Build run the scripts, without keys."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conventions.deployment import NAMES, read
from tests.services.deployment.project import Project

WORKFLOW = ".github/workflows/deploy.yml"
TRIGGER = "deployment/trigger.yaml"
SCHEMAS = {WORKFLOW: "vendor.github-workflows", TRIGGER: "vendor.cloudbuild"}


def check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Return how the check of files by a published schema ends."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", SCHEMAS)
def test_file_fits_its_published_schema(name: str, root: Path, tmp_path: Path) -> None:
    assert check(SCHEMAS[name], root / name).returncode == 0
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((root / name).read_text().replace("env:", "enviroment:"))
    assert "enviroment" in check(SCHEMAS[name], wrong).stdout


def test_build_files_fit_the_published_schema(root: Path) -> None:
    files = [root / "deployment" / f"cloudbuild_{name}.yaml" for name in NAMES]
    assert check("vendor.cloudbuild", *files).returncode == 0


@pytest.fixture
def job(root: Path) -> dict[str, Any]:
    workflow = yaml.safe_load((root / WORKFLOW).read_text())
    assert workflow["permissions"] == {}
    return workflow["jobs"]["deploy"]  # type: ignore[no-any-return]


def test_job_may_read_the_code_and_say_who_it_is_and_no_more(job: dict[str, Any]) -> None:
    assert job["permissions"] == {"contents": "read", "id-token": "write"}


def test_no_key_is_used(job: dict[str, Any]) -> None:
    (auth,) = [step["with"] for step in job["steps"] if "/auth@" in step.get("uses", "")]
    assert set(auth) == {"workload_identity_provider", "service_account"}
    assert "secrets." not in yaml.safe_dump(job)


def test_actions_are_pinned_to_commits_and_say_their_version(root: Path) -> None:
    lines = re.findall(r"uses: (.*)", (root / WORKFLOW).read_text())
    assert len(lines) > 1
    assert [
        line for line in lines if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line)
    ] == []


def test_gcloud_is_as_new_as_the_scripts_need(job: dict[str, Any], root: Path) -> None:
    (since,) = re.findall(r"(?m)^gcloud_since=(\d+)", read(root, "lib.sh"))
    (step,) = yaml.safe_load((root / TRIGGER).read_text())["steps"]
    assert f":{since}.0.0-" in step["name"]
    (setup,) = [each["with"] for each in job["steps"] if "setup-gcloud" in each.get("uses", "")]
    assert setup == {"version": f">= {since}.0.0"}


def of_github(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of the workflow's step, as GitHub starts it, and what it is told."""
    job = yaml.safe_load((root / WORKFLOW).read_text())["jobs"]["deploy"]
    (step,) = [step for step in job["steps"] if step.get("name") == "build and deploy"]
    (components,) = re.findall(r"\|\| '(.*)'", job["env"]["COMPONENTS"])
    return ["bash", "-e", "-c", step["run"]], {"COMPONENTS": components}


def of_cloud_build(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of the trigger's step, with its substitutions."""
    build = yaml.safe_load((root / TRIGGER).read_text())
    (step,) = build["steps"]
    values = {**build["substitutions"], "$": "$"}
    filled = [
        re.sub(r"\$\{(_\w+)\}|\$(\$)", lambda m: values[m[1] or m[2]], word)
        for word in step["args"]
    ]
    return [step["entrypoint"], *filled], {}


@pytest.mark.parametrize("commands", [of_github, of_cloud_build])
def test_each_component_is_built_and_deployed_one_after_the_other(
    commands: Any, project: Project, root: Path
) -> None:
    (shell, *words), told = commands(root)
    ended = project.run("", *words, called=shell, cwd=project.root, **told)
    assert ended.returncode == 0, ended.stderr
    verbs = [call[1:3] for call in project.calls() if call[2] in {"submit", "deploy"}]
    assert verbs == [["builds", "submit"], ["run", "deploy"]] * 2
    assert 'service_url: "https://frontend-v1' in (project.root / "deliverables.yaml").read_text()


@pytest.mark.parametrize("commands", [of_github, of_cloud_build])
def test_nothing_is_deployed_after_a_build_that_failed(
    commands: Any, project: Project, root: Path
) -> None:
    project.answer("gcloud", "builds", "describe", says="FAILURE\tFAILURE\tbuild the app image\n")
    (shell, *words), told = commands(root)
    assert project.run("", *words, called=shell, cwd=project.root, **told).returncode != 0
    assert [call for call in project.calls() if call[1:3] == ["run", "deploy"]] == []
