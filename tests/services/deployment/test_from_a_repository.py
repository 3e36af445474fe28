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
USES = re.compile(r"uses: (.*)")
REFERENCE = re.compile(r"\$\{(_\w+)\}|\$(\$)")  # as Cloud Build has them


@pytest.mark.parametrize("name", SCHEMAS)
def test_file_fits_its_published_schema(name: str, root: Path) -> None:
    builds = [root / "deployment" / f"cloudbuild_{component}.yaml" for component in NAMES]
    files = [root / name, *(builds if name == TRIGGER else [])]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[name], *files]
    subprocess.run(command, check=True)


@pytest.fixture
def job(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / WORKFLOW).read_text())["jobs"]["deploy"]  # type: ignore[no-any-return]


def test_workflow_may_read_the_code_and_say_who_it_is_and_uses_no_key(
    job: dict[str, Any], root: Path
) -> None:
    text = (root / WORKFLOW).read_text()
    assert yaml.safe_load(text)["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    (auth,) = [step["with"] for step in job["steps"] if "/auth@" in step.get("uses", "")]
    assert set(auth) == {"workload_identity_provider", "service_account"}
    assert "secrets." not in yaml.safe_dump(job)
    pinned = [re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line) for line in USES.findall(text)]
    assert len(pinned) > 1
    assert all(pinned), "actions are pinned to commits and say their version"


def test_gcloud_is_as_new_as_the_scripts_need(job: dict[str, Any], root: Path) -> None:
    (since,) = re.findall(r"(?m)^gcloud_since=(\d+)", read(root, "lib.sh"))
    (step,) = yaml.safe_load((root / TRIGGER).read_text())["steps"]
    assert f":{since}.0.0-" in step["name"]
    (setup,) = [step["with"] for step in job["steps"] if "setup-gcloud" in step.get("uses", "")]
    assert setup == {"version": f">= {since}.0.0"}


@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("where", ["github", "cloud build"])
def test_each_component_is_built_and_deployed_until_a_build_fails(
    where: str, succeeds: bool, job: dict[str, Any], project: Project, root: Path
) -> None:
    told = {}
    if where == "github":
        (step,) = [step for step in job["steps"] if step.get("name") == "build and deploy"]
        (told["COMPONENTS"],) = re.findall(r"\|\| '(.*)'", job["env"]["COMPONENTS"])
        command = ["bash", "-e", "-c", step["run"]]
    else:
        build = yaml.safe_load((root / TRIGGER).read_text())
        (step,) = build["steps"]
        values = {**build["substitutions"], "$": "$"}
        filled = [re.sub(REFERENCE, lambda m: values[m[1] or m[2]], word) for word in step["args"]]
        command = [step["entrypoint"], *filled]
    if not succeeds:
        project.answer("gcloud", "builds", "describe", says="FAILURE\tFAILURE\tbuild the app\n")
    ended = project.execute(*command, cwd=project.root, **told)
    assert (ended.returncode == 0) == succeeds, ended.stderr
    verbs = [call[1:3] for call in project.calls() if call[2] in {"submit", "deploy"}]
    assert verbs == ([["builds", "submit"], ["run", "deploy"]] * 2)[: 4 if succeeds else 1]
    recorded = (project.root / "deliverables.yaml").read_text()
    assert ('service_url: "https://frontend-v1' in recorded) == succeeds
