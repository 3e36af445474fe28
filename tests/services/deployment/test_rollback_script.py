"""Rollback: where it does not go, and why. What it calls where it does is in the transcripts."""

import pytest

from tests.services.deployment.project import Project

SERVING = ("gcloud", "run", "list", "*status.traffic.percent>0")
# Component to the last path that its smoke test asks.
ASKED = {
    "backend_v2": "/predict",
    "v3_backend_swin_b": "/model/swin_b/predict",
    "v3_gateway": "/model/efficientnet_lite0/predict",
    "frontend_v1": "/_stcore/health",
}


def test_rollback_from_an_older_revision_goes_further_back(project: Project) -> None:
    project.answer(*SERVING, says="r-00002-bbb\n")
    assert project.run("rollback.sh", "backend_v1").stdout == "r-00001-aaa\n"


@pytest.mark.parametrize("component", ASKED)
def test_older_revision_that_fails_its_smoke_test_gets_no_traffic(
    component: str, project: Project
) -> None:
    project.answer("curl", f"*{ASKED[component]}", says="broken", status=500)
    result = project.run("rollback.sh", component)
    assert (result.returncode, result.stdout) == (1, "")
    assert "r-00002-bbb failed its smoke test, so r-00003-ccc goes on serving" in result.stderr
    assert not [call for call in project.calls() if "--to-revisions" in " ".join(call)]
    assert project.calls()[-1][-2:] == ["--remove-tags=rollback", "--format=none"]


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
