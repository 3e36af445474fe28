"""setup.sh, check.sh and teardown.sh, beyond what their transcripts show."""

import base64
import json

import pytest

from tests.services.deployment.project import APIS, PROJECT, Project

BUCKET = f"gs://{PROJECT}-imgserve-source"
RUN_ACCOUNT = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
MADE = 5  # things that setup.sh makes
GRANT = ("gcloud", "projects", "add-iam-policy-binding")


def nothing_there(project: Project) -> None:
    """Make a project of which nothing is made yet."""
    project.answer("gcloud", "describe", status=1, complains="ERROR: NOT_FOUND\n")


# --- setup.sh ------------------------------------------------------------------------------------


def secret(project: Project) -> str:
    """Return what setup.sh made the secret of."""
    nothing_there(project)
    assert "NOT_FOUND" not in project.run("setup.sh").stderr
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
    project.answer(*GRANT, status=[1, 1, 0])
    result = project.run("setup.sh")
    assert result.returncode == 0
    assert len([call for call in project.calls() if call[:3] == [*GRANT]]) == 3
    assert result.stderr.count("Trying again") == 2


def test_account_that_never_becomes_known_stops_setup(project: Project) -> None:
    project.answer(*GRANT, status=1)
    result = project.run("setup.sh")
    assert result.returncode != 0
    assert "Ready" not in result.stderr
    assert project.calls()[-1][:3] == [*GRANT]
    assert len(project.calls()) < 30


# --- check.sh ------------------------------------------------------------------------------------

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
    lines = result.stderr.splitlines()
    (line,) = [line for line in lines if line.startswith(f"  missing  {what}:")]
    assert hint in line


def test_check_of_an_empty_project_names_everything_and_changes_nothing(project: Project) -> None:
    project.answer("gcloud", status=1, complains="ERROR: nobody is signed in\n")
    result = project.run("check.sh")
    missing = [line for line in result.stderr.splitlines() if line.startswith("  missing")]
    assert result.returncode == 1
    assert len(missing) == 3 + len(APIS) + MADE
    assert f"{len(missing)} of these are missing" in result.stderr
    assert not [call for call in project.calls() if not {"list", "describe"} & set(call)]


# --- teardown.sh ---------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "", None, f"{PROJECT}-2\n", PROJECT[:-1]])
def test_teardown_deletes_nothing_on_another_answer(answer: str | None, project: Project) -> None:
    result = project.run("teardown.sh", stdin=answer)
    assert result.returncode == 1
    assert "nothing was deleted" in result.stderr
    assert len(project.calls()) == 1


def test_teardown_does_not_ask_where_it_was_told_yes(project: Project) -> None:
    assert project.run("teardown.sh", YES="1", stdin=None).returncode == 0
    assert [
        call for call in project.calls() if call[1:4] == ["artifacts", "repositories", "delete"]
    ]
