"""Who may call a service stays as it was, unless PRIVATE says otherwise and a deploy succeeds.

What a deploy that succeeds changes is in the transcripts.
"""

import pytest

from tests.services.deployment.project import Project


@pytest.fixture
def private(project: Project) -> Project:
    """Return a project whose services are private."""
    project.answer("gcloud", "get-iam-policy", says="")
    return project


def flags(project: Project) -> list[str]:
    """Return the flags of deploys that say who may call a service."""
    words = [word for call in project.calls() if "deploy" in call for word in call]
    return [word for word in words if word.endswith("allow-unauthenticated")]


def changed(project: Project) -> bool:
    """Return whether a script changed who may call a service."""
    return "iam-policy-binding" in str(project.calls())


@pytest.mark.parametrize("told", ["", "0", "1"])
@pytest.mark.parametrize("failing", [("gcloud", "deploy"), ("curl", "*/predict")], ids=str)
def test_deploy_that_fails_leaves_a_private_backend_as_private_as_it_was(
    failing: tuple[str, str], told: str, private: Project
) -> None:
    private.answer(*failing, status=1)
    assert private.run("deploy_backend_v1.sh", PRIVATE=told).returncode == 1
    assert flags(private) == ["--no-allow-unauthenticated"]
    assert not changed(private)


@pytest.mark.parametrize("failing", [("gcloud", "deploy"), ("curl", "*/predict")], ids=str)
def test_deploy_that_fails_leaves_a_public_backend_public(
    failing: tuple[str, str], project: Project
) -> None:
    project.answer(*failing, status=1)
    assert project.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 1
    assert flags(project) == ["--allow-unauthenticated"]
    assert not changed(project)


def test_token_is_on_no_command_line(private: Project) -> None:
    assert private.run("deploy_backend_v1.sh").returncode == 0
    given = [each["stdin"].strip() for each in private.record() if each["argv"][0] == "curl"]
    assert given == ["Authorization: Bearer the-token"] * 2
    assert "the-token" not in str(private.calls() + private.calls("curl"))


def test_person_s_account_cannot_name_the_audience(private: Project) -> None:
    private.answer("gcloud", "print-identity-token", "--audiences=*", status=1)
    assert private.run("deploy_backend_v1.sh").returncode == 0
    first, second = [call for call in private.calls() if "print-identity-token" in call]
    assert first == [*second, "--audiences=https://backend-v1.a.run.app"]


def test_other_value_of_private_is_refused_before_anything_is_deployed(project: Project) -> None:
    result = project.run("deploy_backend_v1.sh", PRIVATE="no")
    assert (result.returncode, result.stdout) == (1, "")
    assert "PRIVATE is 1 (only the frontends), 0 (anyone) or not set" in result.stderr
    assert project.calls() == []
