"""A revision that does not start, or fails its smoke test, gets no traffic."""

import pytest

from tests.conventions.deployment import BY_NAME
from tests.services.deployment.project import Project

ONE_SERVICE = sorted(set(BY_NAME) - {"v3_backend"})
SMOKE_TESTS = [
    *[("backend_v1", path) for path in ("/hello", "/predict")],
    *[("backend_v2", path) for path in ("/hello", "/predict")],
    *[("v3_backend", path) for path in ("/hello", "/predict")],
    *[("v3_gateway", path) for path in ("/models", "/hello", "/predict")],
    *[(name, "/_stcore/health") for name in ("frontend_v1", "frontend_v2", "v3_frontend")],
]


def moved_traffic(project: Project) -> bool:
    """Return whether a script sent anybody to another revision."""
    return any("update-traffic" in call for call in project.calls())


def fails(project: Project, name: str) -> str:
    """Return why a deploy failed, after checks of what must hold for every one that does."""
    before = (project.root / "deliverables.yaml").read_text()
    result = project.run(f"deploy_{name}.sh", MODELS="swin_b")
    assert result.returncode == 1
    assert result.stdout == ""
    assert not moved_traffic(project)
    assert (project.root / "deliverables.yaml").read_text() == before
    return result.stderr


@pytest.mark.parametrize(("name", "path"), SMOKE_TESTS)
def test_failed_smoke_test_leaves_the_old_revision_serving(
    name: str, path: str, project: Project
) -> None:
    project.answer("curl", f"*{path}", status=22, says='{"detail": "the queue is full"}')
    said = fails(project, name)
    assert '{"detail": "the queue is full"}' in said
    assert "The new revision failed its smoke test." in said
    assert "goes on serving what it served before" in said


@pytest.mark.parametrize(("name", "path"), SMOKE_TESTS)
def test_wrong_answer_is_a_failed_smoke_test(name: str, path: str, project: Project) -> None:
    project.answer("curl", f"*{path}", says="<html>something else</html>")
    said = fails(project, name)
    assert "something else" in said
    assert "The new revision failed its smoke test." in said


def test_service_that_wakes_up_slowly_is_asked_again(project: Project) -> None:
    project.answer("curl", "*/hello", says=["asleep", "asleep", '"Hello!"'], status=[22, 22, 0])
    assert project.run("deploy_backend_v1.sh").returncode == 0
    assert len([call for call in project.calls("curl") if call[-1].endswith("/hello")]) == 3
    assert moved_traffic(project)


def test_service_that_never_wakes_up_is_not_asked_for_ever(project: Project) -> None:
    project.answer("curl", "*/hello", says="asleep", status=22)
    assert "asleep" in fails(project, "backend_v1")
    assert 1 < len(project.calls("curl")) < 20


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_revision_that_does_not_start_leaves_the_old_one_serving(
    name: str, project: Project
) -> None:
    project.answer("gcloud", "deploy", status=1, complains="ERROR: it did not start\n")
    said = fails(project, name)
    assert "ERROR: it did not start" in said
    assert "The new revision did not start." in said
    assert "goes on serving what it served before" in said
    assert project.calls("curl") == []


@pytest.mark.parametrize("what", ["deploy", "smoke test"])
def test_first_revision_that_fails_has_no_older_one(what: str, project: Project) -> None:
    project.before_any_deploy()
    project.answer(*(("gcloud", "deploy") if what == "deploy" else ("curl", "*")), status=1)
    said = fails(project, "backend_v1")
    assert "It is the first revision of backend-v1" in said
    assert "goes on serving" not in said


def test_failing_v3_backend_leaves_out_the_rest(project: Project) -> None:
    project.answer("curl", "*v3-backend-vgg16*", status=22)
    result = project.run("deploy_v3_backend.sh", MODELS="swin_b,vgg16,resnet152")
    assert (result.returncode, result.stdout) == (1, "https://v3-backend-swin-b.a.run.app\n")
    assert project.deliverable("services.v3.back_ends.swin_b.service_url")
    assert not project.deliverable("services.v3.back_ends.vgg16.service_url")
    assert [call[3] for call in project.calls() if "deploy" in call] == [
        "v3-backend-swin-b",
        "v3-backend-vgg16",
    ]
