"""Each script's exact calls, in order, and what it says and records; or where it stops."""

import pytest

from tests.services.deployment import scenarios
from tests.services.deployment.project import Project, git
from tests.services.deployment.scenarios import SCENARIOS, expected

# Together every line of the scripts, but for check.sh, which looks on whatever fails.
STOPPING = (
    *("submit_backend_v1", "submit_v3_backend", "deploy_backend_v1_first", "deploy_frontend_v1"),
    *("deploy_backend_v2_becomes_private", "deploy_backend_v2_becomes_public"),
    *("deploy_v3_gateway", "deploy_v3_backend", "rollback_backend_v1"),
    *("setup", "setup_again", "teardown"),
)
FAILURES = [name for name in SCENARIOS if "\n# exit status " in expected(name)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_script_does_what_its_transcript_says(name: str, project: Project) -> None:
    assert scenarios.transcript(name, project) == expected(name)
    changed = git(project.root, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert changed in ([], [" M deliverables.yaml"])


def test_every_answer_is_of_a_scenario_that_has_a_transcript() -> None:
    assert set(scenarios.ANSWERS) <= set(SCENARIOS)


@pytest.mark.parametrize("name", [name for name in FAILURES if "second" not in name])
def test_script_that_fails_moves_no_traffic_leaves_no_tag_and_records_nothing(name: str) -> None:
    text = expected(name)
    assert "--to-" not in text
    assert ("--tag=try-TAG" in text) == ("--remove-tags=try-TAG" in text)
    assert text.endswith("# standard output\n\n# deliverables.yaml\n\n# exit status 1\n")


def test_region_repository_and_registry_are_those_that_are_given() -> None:
    texts = [expected(name) for name in SCENARIOS if name.endswith("_elsewhere")]
    assert len(texts) == 4
    assert [text for text in texts if "northamerica" in text or "my-project/imgserve" in text] == []


def only_tidies_up(call: list[str]) -> bool:
    """Return whether a call asks what serves and who may call, or removes a tag and no more."""
    changes = [word for word in call if word.startswith(("--to-", "--update-"))]
    return bool({"list", "get-iam-policy", "update-traffic"} & set(call)) and not changes


@pytest.mark.parametrize("name", STOPPING)
def test_failing_gcloud_stops_the_script_and_nothing_is_recorded(
    name: str, project: Project
) -> None:
    one = {"MODELS": "swin_b"} if "MODELS=" in expected(name) else {}
    deliverables = project.root / "deliverables.yaml"
    before = deliverables.read_text()
    assert scenarios.run(name, project, **one).returncode == 0
    usual = project.calls()
    for number, call in enumerate(usual):
        if "print-identity-token" in call:  # a person's account cannot name an audience
            continue
        deliverables.write_text(before)
        result = scenarios.run(name, project, fail_at=number, **one)
        assert (result.returncode != 0, result.stdout) == (True, ""), call
        after = project.calls()
        assert [after.pop(0) for _ in range(number + 1)] == usual[: number + 1]
        assert [later for later in after if not only_tidies_up(later)] == []
        assert project.record()[-1].argv[0] == "gcloud"
        assert deliverables.read_text() == before
