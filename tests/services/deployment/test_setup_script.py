"""setup.sh makes what is missing, may be run again, and waits for what is slow."""

import base64
import json

from tests.services.deployment.calls import BUCKET, BUILD_ACCOUNT, RUN_ACCOUNT
from tests.services.deployment.project import Project
from tests.services.deployment.setup_calls import ENABLE, GRANT, HAS, MAKE, nothing_there


def test_setup_makes_what_is_missing(project: Project) -> None:
    nothing_there(project)
    result = project.run("setup.sh")
    assert result.returncode == 0, result.stderr
    made = [call for what in MAKE for call in (HAS[what], MAKE[what])]
    assert project.calls() == [ENABLE, *made, *GRANT]
    assert "NOT_FOUND" not in result.stderr


def test_setup_again_makes_nothing_twice(project: Project) -> None:
    result = project.run("setup.sh")
    assert result.returncode == 0
    assert project.calls() == [ENABLE, *HAS.values(), *GRANT]
    for name in ("imgserve", BUCKET, BUILD_ACCOUNT, RUN_ACCOUNT, "imgserve-key"):
        assert f"{name} is there." in result.stderr


def secret(project: Project) -> str:
    """Return what setup.sh made the secret of."""
    nothing_there(project)
    project.run("setup.sh")
    (made,) = [each["stdin"] for each in project.record() if "--data-file=-" in each["argv"]]
    return str(made)


def test_secret_is_random_and_on_no_command_line(project: Project) -> None:
    first = secret(project)
    assert len(base64.b64decode(first, validate=True)) == 32
    assert first not in str(project.calls())
    project.forget()
    assert secret(project) != first


def test_source_code_in_the_bucket_is_deleted_after_a_week(project: Project) -> None:
    rules = json.loads((project.root / "deployment" / "source_lifecycle.json").read_text())
    assert rules == {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 7}}]}


def test_new_account_that_is_not_known_yet_is_waited_for(project: Project) -> None:
    project.answer("gcloud", "projects", "add-iam-policy-binding", status=[1, 1, 0])
    result = project.run("setup.sh")
    assert result.returncode == 0
    assert project.calls().count(GRANT[0]) == 3
    assert result.stderr.count("Trying again") == 2


def test_account_that_never_becomes_known_stops_setup(project: Project) -> None:
    project.answer("gcloud", "projects", "add-iam-policy-binding", status=1)
    result = project.run("setup.sh")
    assert result.returncode != 0
    assert "Ready" not in result.stderr
    assert GRANT[1] not in project.calls()
    assert project.calls().count(GRANT[0]) < 20
