"""Who may call a service stays as it was, unless PRIVATE says otherwise and a deploy succeeds."""

import pytest

from tests.services.deployment import calls
from tests.services.deployment.deploys import BACKEND_V1, HELD, gateway
from tests.services.deployment.project import Project

NAME = "backend-v1"
URL = f"https://{NAME}.a.run.app"
WITH_AUDIENCE = ["gcloud", "auth", "print-identity-token", f"--audiences={URL}"]
WITHOUT = ["gcloud", "auth", "print-identity-token"]
BEARER = "Authorization: Bearer the-token"
RELEASE = calls.update_traffic(NAME, "--to-latest", "--remove-tags=candidate")


@pytest.fixture
def private(project: Project) -> Project:
    """Return a project whose services are private."""
    project.answer("gcloud", "get-iam-policy", says="")
    return project


def authorizations(project: Project) -> list[str]:
    """Return the header that each request had."""
    return [each["stdin"].strip() for each in project.record() if each["argv"][0] == "curl"]


def bindings(project: Project) -> list[list[str]]:
    """Return the calls that change who may call a service."""
    return [call for call in project.calls() if "iam-policy-binding" in " ".join(call)]


def test_private_backend_lets_the_frontends_call_it(project: Project) -> None:
    result = project.run("deploy_backend_v1.sh", PRIVATE="1")
    assert (result.returncode, result.stdout) == (0, f"{URL}\n")
    assert project.calls() == [
        *(calls.exists(NAME), calls.policy(NAME), calls.ready_revision(NAME)),
        BACKEND_V1.deploy(*HELD),
        *(calls.policy(NAME), calls.tag_url(NAME, "candidate")),
        *calls.make_private(NAME),
        *(RELEASE, calls.url(NAME)),
    ]
    assert "Only imgserve-run@" in result.stderr


def test_public_backend_is_made_private_after_its_smoke_test(project: Project) -> None:
    project.run("deploy_backend_v1.sh", PRIVATE="1")
    order = [each["argv"][0] for each in project.record()]
    assert order == ["gcloud"] * 6 + ["curl"] * 2 + ["gcloud"] * 4
    assert authorizations(project) == ["Accept: */*"] * 2


def test_private_backend_stays_private_unless_told(private: Project) -> None:
    result = private.run("deploy_backend_v1.sh")
    assert (result.returncode, result.stdout) == (0, f"{URL}\n")
    assert BACKEND_V1.deploy(*HELD, private=True) in private.calls()
    assert bindings(private) == []
    assert "backend-v1 stays private; PRIVATE=0 would let anyone call it." in result.stderr


@pytest.mark.parametrize("told", ["", "0", "1"])
@pytest.mark.parametrize("failing", [("gcloud", "deploy"), ("curl", "*/predict")], ids=str)
def test_deploy_that_fails_leaves_a_private_backend_as_private_as_it_was(
    failing: tuple[str, str], told: str, private: Project
) -> None:
    private.answer(*failing, status=1)
    assert private.run("deploy_backend_v1.sh", PRIVATE=told).returncode == 1
    assert BACKEND_V1.deploy(*HELD, private=True) in private.calls()
    assert bindings(private) == []


@pytest.mark.parametrize("failing", [("gcloud", "deploy"), ("curl", "*/predict")], ids=str)
def test_deploy_that_fails_leaves_a_public_backend_public(
    failing: tuple[str, str], project: Project
) -> None:
    project.answer(*failing, status=1)
    assert project.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 1
    assert BACKEND_V1.deploy(*HELD) in project.calls()
    assert bindings(project) == []


def test_private_0_makes_a_private_backend_public_after_its_smoke_test(private: Project) -> None:
    result = private.run("deploy_backend_v1.sh", PRIVATE="0")
    assert (result.returncode, result.stdout) == (0, f"{URL}\n")
    assert BACKEND_V1.deploy(*HELD, private=True) in private.calls()
    last = [calls.binding("add", NAME, "allUsers"), RELEASE, calls.url(NAME)]
    assert private.calls()[-3:] == last
    assert authorizations(private) == [BEARER] * 2
    assert "Anyone may call backend-v1 now." in result.stderr


def test_private_backend_that_is_to_be_private_is_not_closed_twice(private: Project) -> None:
    """There gcloud would fail: nobody is to be removed."""
    assert private.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 0
    assert bindings(private) == [calls.allow_frontends(NAME)]


def test_public_backend_that_is_to_be_public_is_left_alone(project: Project) -> None:
    assert project.run("deploy_backend_v1.sh", PRIVATE="0").returncode == 0
    assert BACKEND_V1.deploy(*HELD) in project.calls()
    assert bindings(project) == []


def test_first_revision_of_a_private_backend_is_never_public(private: Project) -> None:
    private.before_any_deploy()
    assert private.run("deploy_backend_v1.sh", PRIVATE="1").returncode == 0
    assert BACKEND_V1.deploy(private=True) in private.calls()
    assert bindings(private) == [calls.allow_frontends(NAME)]
    assert authorizations(private) == [BEARER] * 2


def test_private_backend_is_tested_with_a_token_that_no_command_line_shows(
    private: Project,
) -> None:
    assert private.run("deploy_backend_v1.sh").returncode == 0
    assert authorizations(private) == [BEARER] * 2
    assert "the-token" not in str(private.calls() + private.calls("curl"))


def test_person_s_account_cannot_name_the_audience(private: Project) -> None:
    private.answer("gcloud", "print-identity-token", "--audiences=*", status=1)
    assert private.run("deploy_backend_v1.sh").returncode == 0
    asked = [call for call in private.calls() if "print-identity-token" in call]
    assert asked == [WITH_AUDIENCE, WITHOUT]
    assert authorizations(private) == [BEARER] * 2


def test_public_backend_is_asked_without_a_token(project: Project) -> None:
    assert project.run("deploy_backend_v1.sh").returncode == 0
    assert [each for each in authorizations(project) if "Authorization" in each] == []
    assert not [call for call in project.calls() if "print-identity-token" in call]


@pytest.mark.parametrize("told", ["", "0"])
def test_new_service_is_public_unless_told(told: str, project: Project) -> None:
    project.before_any_deploy()
    result = project.run("deploy_backend_v1.sh", PRIVATE=told)
    assert BACKEND_V1.deploy() in project.calls()
    assert bindings(project) == []
    assert "PRIVATE=1 would let only the frontends" in result.stderr


def test_other_value_of_private_is_refused_before_anything_is_deployed(project: Project) -> None:
    result = project.run("deploy_backend_v1.sh", PRIVATE="no")
    assert (result.returncode, result.stdout) == (1, "")
    assert "PRIVATE is 1 (only the frontends), 0 (anyone) or not set" in result.stderr
    assert project.calls() == []


def test_private_gateway_in_front_of_public_backends(project: Project) -> None:
    assert project.run("deploy_v3_gateway.sh", PRIVATE="1").returncode == 0
    assert gateway().deploy(*HELD) in project.calls()
    assert bindings(project) == calls.make_private("v3-gateway")


def test_private_v3_backends_each_let_the_frontends_call_them(project: Project) -> None:
    assert project.run("deploy_v3_backend.sh", PRIVATE="1", MODELS="swin_b,vgg16").returncode == 0
    services = ("v3-backend-swin-b", "v3-backend-vgg16")
    assert bindings(project) == [call for each in services for call in calls.make_private(each)]
