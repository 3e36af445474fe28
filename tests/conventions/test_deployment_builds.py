"""Cloud Build files hold together: ids, substitutions, images."""

import re
from pathlib import Path
from typing import Any

import pytest

from imgserve.models.catalogue import CATALOGUE
from tests.conventions.deployment import BY_NAME, build_file, read

# Of those that Cloud Build fills in itself; the others it has are not used here.
# https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
BUILT_IN = {"BUILD_ID"}
NAMES = [*sorted(BY_NAME), "template"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Return a component's name, or `template`."""
    return str(request.param)


@pytest.fixture
def build(root: Path, name: str) -> dict[str, Any]:
    return build_file(root, name)


def arguments(build: dict[str, Any]) -> dict[str, list[str]]:
    """Return each step's arguments, by its id."""
    return {step["id"]: step["args"] for step in build["steps"]}


def test_steps_wait_for_steps_that_come_before_them(build: dict[str, Any]) -> None:
    seen: set[str] = set()
    for step in build["steps"]:
        waits = step["waitFor"]
        assert waits == ["-"] or set(waits) <= seen, step["id"]
        assert step["id"] not in seen
        seen.add(step["id"])


def test_both_pulls_begin_at_once_and_fail_without_ending_the_build(build: dict[str, Any]) -> None:
    pulls = [step for step in build["steps"] if step["id"].startswith("pull")]
    assert [step["waitFor"] for step in pulls] == [["-"], ["-"]]
    assert all(re.match(r'docker pull "[^"]+" \|\| echo ".+"$', step["args"][1]) for step in pulls)


def test_app_is_built_from_the_base_of_the_same_build(build: dict[str, Any]) -> None:
    assert (
        "--build-arg=BASE_IMAGE_URI=${_BASE_IMAGE_URI}:$BUILD_ID"
        in (arguments(build)["build the app image"])
    )


def test_images_are_those_that_are_built(build: dict[str, Any]) -> None:
    tags = [
        argument.removeprefix("--tag=")
        for step in build["steps"]
        for argument in step["args"]
        if argument.startswith("--tag=")
    ]
    assert build["images"] == tags
    assert {tag.rpartition(":")[2] for tag in tags} == {"$BUILD_ID", "latest"}


def test_every_build_caches_for_either_builder(build: dict[str, Any]) -> None:
    for step, image in (("base", "_BASE_IMAGE_URI"), ("app", "_APP_URI")):
        given = arguments(build)[f"build the {step} image"]
        assert f"--cache-from=${{{image}}}:latest" in given
        # BuildKit reads another image's cache only where that was told to say what it is made of.
        assert "--build-arg=BUILDKIT_INLINE_CACHE=1" in given


def test_logs_and_time_are_bounded(build: dict[str, Any]) -> None:
    assert build["options"] == {"logging": "CLOUD_LOGGING_ONLY"}
    assert re.fullmatch(r"\d+s", build["timeout"])


def substitutions_used(text: str) -> set[str]:
    """Return the variables that a build file mentions, without their marks."""
    return set(re.findall(r"\$\{?(\w+)", re.sub(r"^#.*$", "", text, flags=re.M)))


def substitutions_passed(text: str) -> set[str]:
    """Return the variables that a submit script gives, or may give."""
    (given,) = re.findall(r'--substitutions="\^\|\^(.*)" \\$', text, re.M)
    return set(re.findall(r"(?:^|\|)(_[A-Z_]+)=", given))


def test_substitutions_are_those_used(name: str, build: dict[str, Any], root: Path) -> None:
    """Cloud Build refuses a build for one that is missing, and for one too many."""
    used = substitutions_used(read(root, f"cloudbuild_{name}.yaml")) - BUILT_IN
    passed = substitutions_passed(read(root, f"submit_build_{name}.sh"))
    assert used == set(build["substitutions"]) | passed
    assert set(build["substitutions"]) & passed <= {"_MODELS", "_PRECISION"}


def test_every_substitution_is_a_string(build: dict[str, Any]) -> None:
    assert {type(value) for value in build["substitutions"].values()} == {str}


def test_build_arguments_are_declared_by_the_dockerfile(
    name: str, build: dict[str, Any], root: Path
) -> None:
    if name == "template":
        return
    dockerfile = (root / BY_NAME[name].dockerfile).read_text()
    declared = set(re.findall(r"^ARG (\w+)", dockerfile, re.M))
    given = {
        argument.split("=")[1]
        for argument in arguments(build)["build the app image"]
        if argument.startswith("--build-arg=")
    }
    # Docker says that one was not consumed, and goes on: frontends compile no models.
    assert declared <= given
    assert given - declared <= {"BUILDKIT_INLINE_CACHE", "MODELS", "PRECISION"}


def test_backend_v2_has_every_model_of_the_catalogue(root: Path) -> None:
    models = build_file(root, "backend_v2")["substitutions"]["_MODELS"]
    assert models.split(",") == list(CATALOGUE)


def test_header_names_the_script_that_runs_it(name: str, root: Path) -> None:
    script = "COMPONENT" if name == "template" else name
    lines = read(root, f"cloudbuild_{name}.yaml").splitlines()
    assert f"submit_build_{script}.sh" in lines[1]
    assert [line.startswith("#") for line in lines[:3]] == [True, True, False]
