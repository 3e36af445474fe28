"""Each script's exact calls, in order, and what it says and records; or where it stops."""

import dataclasses

import pytest

from tests.services.deployment.project import Project
from tests.services.deployment.scenarios import FAILURES, FOLDER, SCENARIOS

# Calls that may fail, each with its reason; tests of the scripts say what happens then.
MAY_FAIL = {
    ("deploy_", "print-identity-token"): "a person's account cannot name an audience",
    ("rollback.sh", "print-identity-token"): "a person's account cannot name an audience",
}
# Together every line of the scripts, but for check.sh, which looks on whatever fails.
STOPPING = (
    *("submit_backend_v1", "submit_v3_backend", "deploy_backend_v1_first", "deploy_frontend_v1"),
    *("deploy_backend_v2_becomes_private", "deploy_backend_v2_becomes_public"),
    *("deploy_v3_gateway", "deploy_v3_backend", "rollback_backend_v1"),
    *("setup", "setup_again", "teardown"),
)


EVERY = {**SCENARIOS, **FAILURES}


@pytest.mark.parametrize("name", EVERY)
def test_script_does_what_its_transcript_says(name: str, project: Project) -> None:
    text = EVERY[name].transcript(project)
    assert text == (FOLDER / f"{name}.txt").read_text()
    assert text.endswith("# exit status 1\n") == (name in FAILURES)
    changed = project.git("status", "--porcelain", "--untracked-files=all").splitlines()
    assert changed in ([], [" M deliverables.yaml"])


def test_every_transcript_is_of_a_scenario() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(EVERY)


@pytest.mark.parametrize("name", [name for name in FAILURES if "second" not in name])
def test_script_that_fails_moves_no_traffic_leaves_no_tag_and_records_nothing(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    assert "--to-" not in text
    assert text.count("--tag=candidate") == text.count("--remove-tags=candidate")
    assert text.endswith("# standard output\n\n# deliverables.yaml\n\n# exit status 1\n")


def test_region_repository_and_registry_are_those_that_are_given() -> None:
    texts = [path.read_text() for path in FOLDER.glob("*_elsewhere.txt")]
    assert len(texts) == 4
    assert [text for text in texts if "northamerica" in text or "my-project/imgserve" in text] == []


def may_fail(script: str, call: list[str]) -> bool:
    """Return whether a script goes on where a call failed."""
    return any(script.startswith(start) and verb in call for start, verb in MAY_FAIL)


def only_tidies_up(call: list[str]) -> bool:
    """Return whether a call asks what serves and who may call, or removes a tag and no more."""
    changes = [word for word in call if word.startswith(("--to-", "--update-"))]
    return bool({"list", "get-iam-policy", "update-traffic"} & set(call)) and not changes


@pytest.mark.parametrize("name", STOPPING)
def test_failing_gcloud_stops_the_script_and_nothing_is_recorded(
    name: str, project: Project
) -> None:
    scenario = SCENARIOS[name]
    if "MODELS" in scenario.environ:
        one = {**scenario.environ, "MODELS": "swin_b"}
        scenario = dataclasses.replace(scenario, environ=one)
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
        after = project.calls()
        assert [after.pop(0) for _ in range(number + 1)] == usual[: number + 1]
        assert [each for each in after if not only_tidies_up(each)] == []
        assert project.record()[-1]["argv"][0] == "gcloud"
        assert deliverables.read_text() == before
