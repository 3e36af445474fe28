"""Whichever call of gcloud fails, its script stops there, fails too, and records nothing."""

import pytest

from tests.services.deployment.project import Project
from tests.services.deployment.scenarios import SCENARIOS

# Calls that may fail, each with its reason; tests of the scripts say what happens then.
MAY_FAIL = {
    ("setup.sh", "describe"): "the thing is not there, so it is made",
    ("setup.sh", "add-iam-policy-binding"): "tried again, as accounts become known slowly",
    ("teardown.sh", "describe"): "the thing is gone already",
    ("deploy_backend_v2.sh", "print-identity-token"): "a person's account cannot name an audience",
}
NAMES = sorted(set(SCENARIOS) - {"check"})  # which looks on whatever fails


def may_fail(script: str, call: list[str]) -> bool:
    """Return whether a script goes on where a call failed."""
    return any(script == each and verb in call for each, verb in MAY_FAIL)


@pytest.mark.parametrize("name", NAMES)
def test_failing_gcloud_stops_the_script(name: str, project: Project) -> None:
    scenario = SCENARIOS[name]
    deliverables = project.root / "deliverables.yaml"
    before = deliverables.read_text()
    assert scenario.run(project).returncode == 0
    usual = project.calls()
    for number, call in enumerate(usual):
        if may_fail(scenario.script, call):
            continue
        deliverables.write_text(before)
        result = scenario.run(project, fail_at=number)
        assert result.returncode != 0, call
        assert result.stdout == "", call
        assert project.calls() == usual[: number + 1]
        assert project.record()[-1]["argv"][0] == "gcloud"
        assert deliverables.read_text() == before
