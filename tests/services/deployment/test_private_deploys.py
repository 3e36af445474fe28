"""PRIVATE=1: only the frontends may call a service, and whoever deploys it to test it."""

import pytest

from tests.services.deployment import calls
from tests.services.deployment.deploys import BACKEND_V1, HELD, gateway
from tests.services.deployment.project import Project

URL = "https://backend-v1.a.run.app"
WITH_AUDIENCE = ["gcloud", "auth", "print-identity-token", f"--audiences={URL}"]
WITHOUT = ["gcloud", "auth", "print-identity-token"]


def authorizations(project: Project) -> list[str]:
    """Return the header that each request had."""
    return [each["stdin"].strip() for each in project.record() if each["argv"][0] == "curl"]


def test_private_backend_lets_the_frontends_call_it(project: Project) -> None:
    result = project.run("deploy_backend_v1.sh", PRIVATE="1")
    assert (result.returncode, result.stdout) == (0, f"{URL}\n")
    assert project.calls() == [
        calls.ready_revision("backend-v1"),
        BACKEND_V1.deploy(*HELD, private=True),
        calls.allow_frontends("backend-v1"),
        calls.url("backend-v1"),
        WITH_AUDIENCE,
        calls.tag_url("backend-v1", "candidate"),
        calls.update_traffic("backend-v1", "--to-latest", "--remove-tags=candidate"),
        calls.url("backend-v1"),
    ]
    assert "only imgserve-run@" in result.stderr


def test_private_backend_is_tested_with_a_token_that_no_command_line_shows(
    project: Project,
) -> None:
    assert project.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 0
    assert authorizations(project) == ["Authorization: Bearer the-token"] * 2
    assert "the-token" not in str(project.calls() + project.calls("curl"))


def test_person_s_account_cannot_name_the_audience(project: Project) -> None:
    project.answer("gcloud", "print-identity-token", "--audiences=*", status=1)
    assert project.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 0
    asked = [call for call in project.calls() if "print-identity-token" in call]
    assert asked == [WITH_AUDIENCE, WITHOUT]
    assert authorizations(project) == ["Authorization: Bearer the-token"] * 2


def test_public_backend_is_asked_without_a_token(project: Project) -> None:
    assert project.run("deploy_backend_v1.sh").returncode == 0
    assert [each for each in authorizations(project) if "Authorization" in each] == []
    assert not [call for call in project.calls() if "print-identity-token" in call]


@pytest.mark.parametrize("private", ["", "0", "no"])
def test_public_is_the_default(private: str, project: Project) -> None:
    result = project.run("deploy_backend_v1.sh", PRIVATE=private)
    assert BACKEND_V1.deploy(*HELD) in project.calls()
    assert "PRIVATE=1 would let only the frontends" in result.stderr


def test_private_gateway_in_front_of_public_backends(project: Project) -> None:
    assert project.run("deploy_v3_gateway.sh", PRIVATE="1").returncode == 0
    assert gateway().deploy(*HELD, private=True) in project.calls()
    assert calls.allow_frontends("v3-gateway") in project.calls()


def test_private_v3_backends_each_let_the_frontends_call_them(project: Project) -> None:
    assert project.run("deploy_v3_backend.sh", PRIVATE="1", MODELS="swin_b,vgg16").returncode == 0
    allowed = [call for call in project.calls() if "add-iam-policy-binding" in call]
    services = ("v3-backend-swin-b", "v3-backend-vgg16")
    assert allowed == [calls.allow_frontends(service) for service in services]
