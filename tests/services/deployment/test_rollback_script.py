"""Rollback: the revision before the one that serves, or a named one, after a smoke test."""

import pytest

from tests.services.deployment import calls
from tests.services.deployment.calls import WHERE
from tests.services.deployment.deploys import PAGE
from tests.services.deployment.project import Project

COMPONENTS = {
    "backend_v1": ["/hello", "/predict"],
    "backend_v2": ["/hello", "/predict"],
    "v3_backend_swin_b": ["/hello", "/model/swin_b/predict"],
    "v3_gateway": ["/models", "/hello", "/model/efficientnet_lite0/predict"],
    "frontend_v1": [PAGE],
    "frontend_v2": [PAGE],
    "v3_frontend": [PAGE],
}
SERVING = ("gcloud", "run", "list", "*status.traffic.percent>0")
NEWEST = "r-00003-ccc"  # then r-00002-bbb, r-00001-aaa


def looking(service: str) -> list[list[str]]:
    """Return the calls that ask what serves, and what else could."""
    return [
        [
            *("gcloud", "run", "services", "list", *WHERE, "--flatten=status.traffic[]"),
            f"--filter=metadata.name={service} AND status.traffic.percent>0",
            "--verbosity=error",
            "--format=value(status.traffic.revisionName)",
        ],
        [
            *("gcloud", "run", "revisions", "list", *WHERE, f"--service={service}"),
            "--flatten=status.conditions[]",
            "--filter=status.conditions.type=Ready AND status.conditions.status=True",
            "--sort-by=~metadata.creationTimestamp",
            "--format=value(metadata.name)",
        ],
    ]


def rolling_back(service: str, revision: str) -> list[list[str]]:
    """Return the calls that test a revision and give it the traffic."""
    return [
        calls.update_traffic(
            service, f"--update-tags=rollback={revision}", "--remove-tags=candidate"
        ),
        calls.tag_url(service, "rollback"),
        calls.policy(service),
        calls.update_traffic(service, f"--to-revisions={revision}=100", "--remove-tags=rollback"),
    ]


@pytest.mark.parametrize("component", COMPONENTS)
def test_rollback_goes_to_the_revision_before(component: str, project: Project) -> None:
    project.answer(*SERVING, says=f"{NEWEST}\n")
    result = project.run("rollback.sh", component)
    assert (result.returncode, result.stdout) == (0, "r-00002-bbb\n"), result.stderr
    service = component.replace("_", "-")
    assert project.calls() == [*looking(service), *rolling_back(service, "r-00002-bbb")]
    asked = [call[-1] for call in project.calls("curl")]
    assert asked == [f"https://tag---{service}.a.run.app{path}" for path in COMPONENTS[component]]


def test_rollback_tests_before_it_moves_traffic(project: Project) -> None:
    project.answer(*SERVING, says=f"{NEWEST}\n")
    project.run("rollback.sh", "backend_v1")
    order = [each["argv"][0] for each in project.record()]
    assert order == ["gcloud"] * 5 + ["curl"] * 2 + ["gcloud"]


def test_rollback_from_an_older_revision_goes_further_back(project: Project) -> None:
    project.answer(*SERVING, says="r-00002-bbb\n")
    assert project.run("rollback.sh", "backend_v1").stdout == "r-00001-aaa\n"


def test_rollback_takes_a_named_revision(project: Project) -> None:
    project.answer(*SERVING, says=f"{NEWEST}\n")
    result = project.run("rollback.sh", "backend_v1", "r-00001-aaa")
    assert (result.returncode, result.stdout) == (0, "r-00001-aaa\n")
    assert project.calls()[2:] == rolling_back("backend-v1", "r-00001-aaa")


def test_rollback_notices_that_a_service_is_private_and_brings_a_token(project: Project) -> None:
    project.answer(*SERVING, says=f"{NEWEST}\n")
    project.answer("gcloud", "get-iam-policy", "backend-v1", says="")
    assert project.run("rollback.sh", "backend_v1").returncode == 0
    headers = [each["stdin"].strip() for each in project.record() if each["argv"][0] == "curl"]
    assert headers == ["Authorization: Bearer the-token"] * 2


@pytest.mark.parametrize("component", COMPONENTS)
def test_older_revision_that_fails_its_smoke_test_gets_no_traffic(
    component: str, project: Project
) -> None:
    project.answer(*SERVING, says=f"{NEWEST}\n")
    project.answer("curl", f"*{COMPONENTS[component][-1]}", says="broken", status=22)
    result = project.run("rollback.sh", component)
    assert (result.returncode, result.stdout) == (1, "")
    assert "r-00002-bbb failed its smoke test, so r-00003-ccc goes on serving" in result.stderr
    assert not [call for call in project.calls() if "--to-revisions" in " ".join(call)]


@pytest.mark.parametrize(
    ("serving", "words", "reason"),
    [
        ("", [], "backend-v1 is not deployed"),
        ("r-00001-aaa\n", [], "no revision that is older than r-00001-aaa"),
        ("r-00003-ccc\n", ["r-00003-ccc"], "r-00003-ccc is what serves already"),
        ("r-00003-ccc\n", ["r-00001-aaa", "more"], "a component and a revision, and no more"),
    ],
)
def test_rollback_that_cannot_be_says_why_and_changes_nothing(
    serving: str, words: list[str], reason: str, project: Project
) -> None:
    project.answer(*SERVING, says=serving)
    result = project.run("rollback.sh", "backend_v1", *words)
    assert (result.returncode, result.stdout) == (1, "")
    assert reason in result.stderr
    assert not [call for call in project.calls() if "update-traffic" in call]


@pytest.mark.parametrize("word", ["", "backend_v9", "v3_backend", "v3_backend_", "backend-v1"])
def test_rollback_knows_its_components(word: str, project: Project) -> None:
    result = project.run("rollback.sh", word)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"takes a component, not '{word}'" in result.stderr
    assert project.record() == []
