"""Dockerfiles: a change of code leaves the models, and habits are good."""

import json
import re
from pathlib import Path

import pytest

from tests.conventions.deployment import SIDES

APPS = [f"deployment/Dockerfile.{side}" for side in SIDES]
BASES = [f"{app}_base" for app in APPS]


def instructions(root: Path, name: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions: their words and what follows, in one line each."""
    text = re.sub(r"^ *#.*\n", "", (root / name).read_text(), flags=re.M)
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line]


@pytest.fixture(params=[*APPS, *BASES])
def every(request: pytest.FixtureRequest, root: Path) -> list[tuple[str, str]]:
    return instructions(root, request.param)


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest, root: Path) -> list[tuple[str, str]]:
    return instructions(root, request.param)


def copied(found: list[tuple[str, str]]) -> list[str]:
    """Return what is copied into an image, in order."""
    return [path for word, text in found if word == "COPY" for path in text.split()[:-1]]


def test_code_comes_after_the_models_and_is_no_part_of_their_stage(root: Path) -> None:
    """So a change of the code that serves compiles nothing again."""
    found = instructions(root, "deployment/Dockerfile.backend")
    second = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    compiling, serving = found[:second], found[second:]
    assert "-m imgserve.compile" in dict(compiling)["RUN"]
    assert {"imgserve/backend", "${FOLDER}"} & set(copied(compiling)) == set()
    assert {"imgserve/backend", "${FOLDER}"} <= set(copied(serving))
    assert "imgserve/compile" not in copied(serving)


def test_packages_are_copied_whole(app: list[tuple[str, str]]) -> None:
    ours = [path for path in copied(app) if path.startswith("imgserve")]
    assert ours
    assert [path for path in ours if not re.fullmatch(r"imgserve/(\*\.py|[a-z]+)", path)] == []


# --- habits, as hadolint has them ----------------------------------------------------------------


def test_image_copies_holds_no_secret_and_has_python_s_packages_by_locks(
    every: list[tuple[str, str]],
) -> None:
    known = {"ARG", "FROM", "RUN", "WORKDIR", "ENV", "COPY", "EXPOSE", "USER", "CMD", "LABEL"}
    assert {word for word, _ in every} <= known  # so neither ADD, HEALTHCHECK, MAINTAINER nor SHELL
    # What these hold stays readable in the image's history.
    named = [text for word, text in every if word in {"ARG", "ENV"}]
    assert not [text for text in named if re.search(r"(?i)secret|token|password|_key", text)]
    assert not [text for word, text in every if word == "RUN" and "pip install" in text]


def test_app_runs_in_exec_form_as_another_user_than_root_and_labels_come_last(
    app: list[tuple[str, str]],
) -> None:
    words = [word for word, _ in app]
    assert words[-6:] == ["USER", "CMD", "ARG", "ARG", "ARG", "LABEL"]
    assert words.count("CMD") == words.count("USER") == 1
    assert dict(app)["USER"] == "app"
    assert all(isinstance(each, str) for each in json.loads(dict(app)["CMD"]))
    labels = re.findall(r"org\.opencontainers\.image\.(\w+)=", dict(app)["LABEL"])
    assert labels == ["title", "source", "revision"]


@pytest.mark.parametrize("name", BASES)
def test_base_names_python_s_version_and_makes_the_user(name: str, root: Path) -> None:
    found = instructions(root, name)
    assert found[0] == ("FROM", "python:3.11-slim-bookworm")
    (user,) = [text for _, text in found if text.startswith("useradd")]
    assert re.fullmatch(r"useradd .*--uid 1\d{4} .* app", user)


def test_packages_of_the_system_bring_nothing_along(every: list[tuple[str, str]]) -> None:
    for _, text in every:
        for part in re.findall(r"apt(?:-get)? [^&]+", text):
            assert not part.startswith("apt "), "apt is for people"
            assert "install" not in part or "--yes --no-install-recommends" in part
        if "apt-get" in text:
            assert "apt-get update" in text
            assert text.endswith("rm -rf /var/lib/apt/lists/*")
