"""teardown.sh deletes what the other scripts made, after asking."""

import pytest

from tests.services.deployment.calls import BUCKET, BUILD_ACCOUNT, RUN_ACCOUNT
from tests.services.deployment.project import PROJECT, Project
from tests.services.deployment.setup_calls import (
    DELETE,
    DELETE_SERVICES,
    HAS,
    OURS,
    nothing_there,
)


def test_teardown_deletes_what_the_scripts_made(project: Project) -> None:
    result = project.run("teardown.sh", stdin=f"{PROJECT}\n")
    assert result.returncode == 0, result.stderr
    assert project.calls() == [
        OURS,
        *DELETE_SERVICES,
        *(HAS["repository"], DELETE["repository"]),
        *(HAS["bucket"], DELETE["bucket"]),
        *(HAS["secret"], DELETE["secret"]),
        *(HAS["builder"], DELETE["role"]),
        *(HAS["builder"], DELETE["builder"]),
        *(HAS["runner"], DELETE["runner"]),
    ]


def test_teardown_says_what_it_deletes_before_it_asks(project: Project) -> None:
    said = project.run("teardown.sh", stdin="no\n").stderr
    for name in ("backend-v1", "frontend-v1", "imgserve", BUCKET, BUILD_ACCOUNT, RUN_ACCOUNT):
        assert name in said


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "", None, f"{PROJECT}-2\n", PROJECT[:-1]])
def test_teardown_deletes_nothing_on_another_answer(answer: str | None, project: Project) -> None:
    result = project.run("teardown.sh", stdin=answer)
    assert result.returncode == 1
    assert "nothing was deleted" in result.stderr
    assert project.calls() == [OURS]


def test_teardown_does_not_ask_where_it_was_told_yes(project: Project) -> None:
    assert project.run("teardown.sh", YES="1", stdin=None).returncode == 0
    assert DELETE["repository"] in project.calls()


def test_teardown_passes_over_what_is_gone(project: Project) -> None:
    nothing_there(project)
    project.answer("gcloud", "--filter=spec.template*", says="")
    result = project.run("teardown.sh", YES="1")
    assert result.returncode == 0
    assert [call for call in project.calls() if "describe" not in call] == [OURS]
