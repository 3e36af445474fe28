"""Substitutions of the rehearsal's Cloud Build, and what it refuses at once."""

from typing import Any

import pytest

from tools.rehearsal.answers import ApiError
from tools.rehearsal.builds.checks import check
from tools.rehearsal.builds.durations import seconds
from tools.rehearsal.builds.steps import waits_for
from tools.rehearsal.builds.substitutions import substituted

BUILTIN = {"PROJECT_ID": "a-project", "BUILD_ID": "b-1"}


def build(*args: str, **fields: Any) -> dict[str, Any]:
    """Return a build of one step with these arguments."""
    return {"steps": [{"name": "docker", "args": list(args)}], **fields}


def arguments(of: dict[str, Any]) -> list[str]:
    """Return the arguments of the step after the substitutions."""
    return list(substituted(of, BUILTIN)["steps"][0]["args"])


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$PROJECT_ID/$BUILD_ID/$_TAG", "a-project/b-1/v1"),
        ("${PROJECT_ID}x${_TAG}", "a-projectxv1"),
        ("$_TAG-$_TAG", "v1-v1"),
        ("$$HOME is $_TAG, $$_TAG", "$HOME is v1, $_TAG"),
        ("$(date) $lower ${lower} $1 $_TAG $", "$(date) $lower ${lower} $1 v1 $"),
        ("${_TAG:-none}$_TAG", "${_TAG:-none}v1"),
        ("$COMMIT_SHA$_TAG", "v1"),
    ],
)
def test_text_is_filled_as_cloud_build_fills_it(text: str, filled: str) -> None:
    assert arguments(build(text, substitutions={"_TAG": "v1"})) == [filled]


def test_images_tags_and_environments_are_filled_and_scripts_are_not() -> None:
    step = {"name": "docker", "script": "echo $_TAG $HOME", "env": ["TAG=$_TAG"], "dir": "$_TAG"}
    made = substituted(
        {
            "steps": [step],
            "images": ["host/$PROJECT_ID/x:$BUILD_ID"],
            "options": {"env": ["A=${_TAG}"]},
            "substitutions": {"_TAG": "v1"},
        },
        BUILTIN,
    )
    assert made["steps"] == [{**step, "env": ["TAG=v1"], "dir": "v1"}]
    assert made["images"] == ["host/a-project/x:b-1"]
    assert made["options"] == {"env": ["A=v1"]}


@pytest.mark.parametrize(
    ("args", "given", "message"),
    [
        ([], {"_A": "1"}, 'key "_A" in the substitution data is not matched in the template'),
        (["$_A"], {}, 'key in the template "_A" is not matched in the substitution data'),
        (["$HOME"], {}, 'key in the template "HOME" is not a valid built-in substitution'),
        (["$TAG"], {"TAG": "1"}, 'substitution key "TAG" does not respect format'),
        (["$_a"], {"_a": "1"}, 'substitution key "_a" does not respect format'),
    ],
)
def test_mismatch_is_refused(args: list[str], given: dict[str, str], message: str) -> None:
    with pytest.raises(ApiError, match="substitution") as refused:
        substituted(build(*args, substitutions=given), BUILTIN)
    assert message in refused.value.message
    assert refused.value.code == 400


def test_allow_loose_fills_what_is_missing_with_nothing() -> None:
    loose = {"substitutionOption": "ALLOW_LOOSE"}
    assert arguments(build("[$_A]", substitutions={"_B": "1"}, options=loose)) == ["[]"]


def test_automap_counts_every_substitution_as_used() -> None:
    step = {"name": "docker", "script": "echo $_A", "automapSubstitutions": True}
    substituted({"steps": [step], "substitutions": {"_A": "1"}}, BUILTIN)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "no build steps"),
        ([{"args": ["x"]}], "has no name"),
        ([{"name": "docker", "waitFor": ["later"]}, {"name": "docker", "id": "later"}], "later"),
        ([{"name": "docker", "id": "a"}, {"name": "docker", "id": "a"}], "earlier step has"),
        ([{"name": "docker", "script": "true", "args": ["x"]}], "script"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        check({"steps": steps})
    assert refused.value.code == 400


def test_service_account_needs_a_place_for_the_log() -> None:
    mine = build(serviceAccount="projects/p/serviceAccounts/a@p")
    with pytest.raises(ApiError, match="CLOUD_LOGGING_ONLY"):
        check(mine)
    check({**mine, "options": {"logging": "CLOUD_LOGGING_ONLY"}})


@pytest.mark.parametrize(
    "unknown",
    [
        {"artifacts": {"objects": {"location": "gs://x"}}},
        {"options": {"volumes": [{"name": "v", "path": "/v"}]}},
        {"steps": [{"name": "docker", "secretEnv": ["A"]}]},
    ],
)
def test_parts_that_the_rehearsal_lacks_are_refused(unknown: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="The rehearsal has no part for") as refused:
        check({**build(), **unknown})
    assert refused.value.code == 501


def test_step_waits_for_all_earlier_ones_unless_it_says() -> None:
    steps: list[dict[str, Any]] = [
        {"id": "a"},
        {"id": "b", "waitFor": ["-"]},
        {"id": "c", "waitFor": ["a"]},
        {},
        {"waitFor": []},
    ]
    assert waits_for(steps) == [[], [], [0], [0, 1, 2], [0, 1, 2, 3]]


def test_durations_are_seconds() -> None:
    assert [seconds("600s"), seconds("1.5s")] == [600.0, 1.5]
    with pytest.raises(ApiError, match="must end with 's'"):
        seconds("10m")
