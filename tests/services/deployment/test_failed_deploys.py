"""A revision that does not start, or fails its smoke test, gets no traffic; nor one too early."""

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.services.deployment.project import Project

HELLO, PREDICT, PAGE = "/hello", "/predict", "/_stcore/health"
# By side: what a smoke test asks.
ASKED = {"backend": (HELLO, PREDICT), "gateway": ("/models", HELLO, PREDICT), "frontend": (PAGE,)}
SMOKE_TESTS = [(name, path) for name in NAMES for path in ASKED[BY_NAME[name].side]]
BACKENDS = {
    "frontend_v1": "backend_v1",
    "frontend_v2": "backend_v2",
    "v3_frontend": "v3_gateway",
    "v3_gateway": "v3_backend",
}


def moved_traffic(project: Project) -> bool:
    """Return whether a script sent anybody to another revision."""
    return any("update-traffic" in call for call in project.calls())


def fails(project: Project, name: str) -> str:
    """Return why a deploy failed, after checks of what must hold for every one that does."""
    before = (project.root / "deliverables.yaml").read_text()
    result = project.run(f"deploy_{name}.sh", MODELS="swin_b")
    assert (result.returncode, result.stdout) == (1, "")
    assert not moved_traffic(project)
    assert (project.root / "deliverables.yaml").read_text() == before
    return result.stderr


@pytest.mark.parametrize("status", [22, 0], ids=["failed", "wrong"])
@pytest.mark.parametrize(("name", "path"), SMOKE_TESTS)
def test_failed_or_wrong_answer_leaves_the_old_revision_serving(
    name: str, path: str, status: int, project: Project
) -> None:
    project.answer("curl", f"*{path}", status=status, says='{"detail": "the queue is full"}')
    said = fails(project, name)
    assert '{"detail": "the queue is full"}' in said
    assert "The new revision failed its smoke test." in said
    assert "goes on serving what it served before" in said


def test_service_that_wakes_up_slowly_is_asked_again(project: Project) -> None:
    project.answer("curl", "*/hello", says=["asleep", "asleep", '"Hello!"'], status=[22, 22, 0])
    assert project.run("deploy_backend_v1.sh").returncode == 0
    assert len([call for call in project.calls("curl") if call[-1].endswith("/hello")]) == 3
    assert moved_traffic(project)


def test_service_that_never_wakes_up_is_not_asked_for_ever(project: Project) -> None:
    project.answer("curl", "*/hello", says="asleep", status=22)
    assert "asleep" in fails(project, "backend_v1")
    assert 1 < len(project.calls("curl")) < 20


@pytest.mark.parametrize("name", NAMES)
def test_revision_that_does_not_start_leaves_the_old_one_serving(
    name: str, project: Project
) -> None:
    project.answer("gcloud", "deploy", status=1, complains="ERROR: it did not start\n")
    said = fails(project, name)
    assert "ERROR: it did not start" in said
    assert "The new revision did not start." in said
    assert "goes on serving what it served before" in said
    assert project.calls("curl") == []


@pytest.mark.parametrize("what", [("gcloud", "deploy"), ("curl", "*")], ids=["start", "test"])
def test_first_revision_that_fails_has_no_older_one(
    what: tuple[str, str], project: Project
) -> None:
    project.before_any_deploy()
    project.answer(*what, status=1)
    said = fails(project, "backend_v1")
    assert "It is the first revision of backend-v1" in said
    assert "goes on serving" not in said


def test_failing_v3_backend_leaves_out_the_rest(project: Project) -> None:
    project.answer("curl", "*v3-backend-vgg16*", status=22)
    result = project.run("deploy_v3_backend.sh", MODELS="swin_b,vgg16,resnet152")
    assert (result.returncode, result.stdout) == (1, "https://v3-backend-swin-b.a.run.app\n")
    assert project.deliverable("services.v3.back_ends.swin_b.service_url")
    assert not project.deliverable("services.v3.back_ends.vgg16.service_url")
    deployed = [call[3] for call in project.calls() if "deploy" in call]
    assert deployed == ["v3-backend-swin-b", "v3-backend-vgg16"]


@pytest.mark.parametrize("name", BACKENDS)
def test_service_without_its_backend_says_which_script_comes_first(
    name: str, project: Project
) -> None:
    service = BACKENDS[name].replace("_", "-") + ("-swin-b" if name == "v3_gateway" else "")
    project.answer("gcloud", f"--filter=metadata.name={service}", says="")
    said = fails(project, name)
    script = f"deployment/deploy_{BACKENDS[name]}.sh"
    assert f"{service} is not deployed yet: run {script} first" in said
    assert len(project.calls()) == 1


def test_gateway_refuses_private_backends(project: Project) -> None:
    project.answer("gcloud", "get-iam-policy", "v3-backend-swin-b", says="")
    assert "v3-backend-swin-b asks for ID tokens" in fails(project, "v3_gateway")
    assert not [call for call in project.calls() if "deploy" in call]
