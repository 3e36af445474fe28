"""check.sh says what is missing and what to do about it, and changes nothing."""

import pytest

from tests.services.deployment.calls import BUCKET, RUN_ACCOUNT
from tests.services.deployment.project import APIS, PROJECT, Project
from tests.services.deployment.setup_calls import HAS, IN, nothing_there


def test_check_of_a_project_that_has_everything(project: Project) -> None:
    result = project.run("check.sh")
    assert (result.returncode, result.stdout) == (0, "")
    assert "Nothing is missing." in result.stderr
    assert "missing  " not in result.stderr
    assert project.calls() == [
        ["gcloud", "auth", "list", "--filter=status:ACTIVE", "--format=value(account)"],
        ["gcloud", "projects", "describe", PROJECT],
        [*("gcloud", "billing", "projects", "describe", PROJECT), "--format=value(billingEnabled)"],
        ["gcloud", "services", "list", IN, "--enabled", "--format=value(config.name)"],
        *HAS.values(),
    ]


MISSING = {
    "an account that is signed in": (("auth", "list"), 0, "gcloud auth login"),
    "the project": (("projects", "describe", PROJECT), 1, "gcloud projects create"),
    "billing": (("billing",), 0, "under Billing"),
    "the API run.googleapis.com": (("--enabled",), 0, "deployment/setup.sh enables it"),
    "the repository imgserve": (("repositories", "describe"), 1, "deployment/setup.sh makes it"),
    f"the bucket {BUCKET}": (("buckets", "describe"), 1, "deployment/setup.sh makes it"),
    f"the account {RUN_ACCOUNT}": (("describe", RUN_ACCOUNT), 1, "deployment/setup.sh makes it"),
    "the secret imgserve-key": (("secrets", "describe"), 1, "deployment/setup.sh makes it"),
}


@pytest.mark.parametrize("what", MISSING)
def test_check_says_what_is_missing_and_what_to_do(what: str, project: Project) -> None:
    words, status, hint = MISSING[what]
    project.answer("gcloud", *words, status=status)
    result = project.run("check.sh")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = [
        line for line in result.stderr.splitlines() if line.startswith(f"  missing  {what}:")
    ]
    assert hint in line


def test_check_of_an_empty_project_names_everything_and_counts(project: Project) -> None:
    project.answer("gcloud", status=1, complains="ERROR: nobody is signed in\n")
    result = project.run("check.sh")
    missing = [line for line in result.stderr.splitlines() if line.startswith("  missing")]
    assert result.returncode == 1
    assert len(missing) == 3 + len(APIS) + len(HAS)
    assert f"{len(missing)} of these are missing" in result.stderr


def test_check_changes_nothing(project: Project) -> None:
    nothing_there(project)
    project.run("check.sh")
    verbs = {"list", "describe"}
    assert [call for call in project.calls() if not verbs & set(call)] == []
