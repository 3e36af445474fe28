"""Cloud Build's stand-in: what it refuses, how it fills in, and how it runs steps."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.rehearsal.builder import Builder, waits_for
from tools.rehearsal.cloudbuild import check, substituted
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError

LOGGING = {"logging": "CLOUD_LOGGING_ONLY"}
BUILTIN = {"PROJECT_ID": "a-project", "BUILD_ID": "id-1"}
ACCOUNT = "builder@a-project.iam.gserviceaccount.com"
IMAGE = "a-registry/a-project/images/app:latest"
# In place of docker, which is a program like others to a step.
DOCKER = '#!/bin/sh\necho "$0 $@"\n'

Run = Callable[..., Json]


def step(script: str, **fields: object) -> Json:
    return {"name": "docker", "entrypoint": "bash", "args": ["-c", script], **fields}


@pytest.fixture
def store() -> Store:
    return Store("a-project")


@pytest.fixture
def builder(tmp_path: Path, store: Store) -> Builder:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environ = {"PATH": path, "SECRET_OF_THE_USER": "x", "DOCKER_HOST": "unix:///a/socket"}
    return Builder(tmp_path / "builds", store, environ, "a-registry")


def archived(name: str) -> bytes:
    """Return an archive with one empty file of this name."""
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return source.getvalue()


@pytest.fixture
def run(builder: Builder) -> Run:
    """Return what runs a build of some steps, with one file in its source."""

    def to_its_end(*steps: Json, source: str = "file", **fields: object) -> Json:
        numbered = [{"id": str(number), **step} for number, step in enumerate(steps)]
        account = f"projects/a-project/serviceAccounts/{ACCOUNT}"
        build = {"id": "b", "steps": numbered, "serviceAccount": account, **fields}
        return builder.run(build, archived(source))

    return to_its_end


def test_steps_run_in_one_workspace_that_holds_the_source(run: Run, builder: Builder) -> None:
    built = run(step("ls; echo made >other", id="first"), step("cat other"))
    assert (built["status"], [one["status"] for one in built["steps"]]) == (
        "SUCCESS",
        ["SUCCESS", "SUCCESS"],
    )
    assert built["steps"][0]["timing"]["endTime"] >= built["steps"][0]["timing"]["startTime"]
    assert built["timing"]["PUSH"]["endTime"]
    assert builder.log("b").read_text() == "first: file\n1: made\n"


def test_steps_that_wait_for_nothing_run_side_by_side(run: Run) -> None:
    one = "until [ -e b ]; do sleep 0.01; done; touch a"
    other = "touch b; until [ -e a ]; do sleep 0.01; done"
    assert run(step(one), step(other, waitFor=["-"]))["status"] == "SUCCESS"


def test_a_step_sees_nothing_of_the_users_settings(run: Run, builder: Builder) -> None:
    run(step("echo [$SECRET_OF_THE_USER] $DOCKER_HOST"))
    assert "0: [] unix:///a/socket\n" in builder.log("b").read_text()


def test_docker_builds_with_the_hosts_network(run: Run, builder: Builder) -> None:
    run({"name": "gcr.io/cloud-builders/docker", "args": ["build", "--tag=a", "."]})
    assert "docker build --network=host --tag=a .\n" in builder.log("b").read_text()


@pytest.mark.parametrize(
    ("step_that_fails", "fields", "detail"),
    [
        (step("exit 3"), {}, "'0' failed: exit status 3"),
        ({"name": "gcr.io/cloud-builders/gcloud"}, {}, "no builder"),
        (step("true"), {"images": [IMAGE]}, "no repository 'images'"),
    ],
)
def test_a_build_that_cannot_end_well_says_why(
    run: Run, step_that_fails: Json, fields: Json, detail: str
) -> None:
    built = run(step_that_fails, step("true", waitFor=["-"]), **fields)
    assert (built["status"], detail in built["statusDetail"]) == ("FAILURE", True)


def test_no_step_begins_after_one_that_failed(run: Run) -> None:
    assert "status" not in run(step("exit 3"), step("true"))["steps"][1]


def test_images_are_pushed_by_an_account_that_may(run: Run, store: Store, builder: Builder) -> None:
    store.put("repositories", "images", {})
    assert "uploadArtifacts" in run(step("true"), images=[IMAGE])["statusDetail"]
    writer = {"role": "roles/artifactregistry.writer", "members": [f"serviceAccount:{ACCOUNT}"]}
    store.set_policy("repositories/images", {"bindings": [writer]})
    assert run(step("true"), images=[IMAGE])["status"] == "SUCCESS"
    assert f"docker push {IMAGE}\n" in builder.log("b").read_text()


def test_an_archive_that_reaches_out_of_the_workspace_is_refused(run: Run, tmp_path: Path) -> None:
    assert "cannot be unpacked" in run(step("true"), source="../outside")["statusDetail"]
    assert not (tmp_path / "builds" / "outside").exists()


def test_a_step_waits_for_all_earlier_ones_unless_it_says() -> None:
    steps: list[Json] = [
        {"id": "a"},
        {"id": "b", "waitFor": ["-"]},
        {"id": "c", "waitFor": ["a"]},
        {"id": "d"},
    ]
    assert waits_for(steps) == [[], [], [0], [0, 1, 2]]


def test_variables_are_filled_in_as_cloud_build_does() -> None:
    build = {"args": ["$_A-${_A}-$$_A", "${PROJECT_ID}:$BUILD_ID $(a)"]}
    filled = substituted({**build, "substitutions": {"_A": 'a "quote"'}}, BUILTIN)
    assert filled["args"] == ['a "quote"-a "quote"-$_A', "a-project:id-1 $(a)"]


@pytest.mark.parametrize(
    ("args", "given", "message"),
    [
        ("", {"_A": "x"}, "'_A'] in the substitution data are not matched in the template"),
        ("$_A", {}, "'_A'] in the template are not matched in the substitution data"),
    ],
)
def test_a_mismatch_of_variables_is_refused(args: str, given: Json, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        substituted({"steps": [{"args": [args]}], "substitutions": given}, BUILTIN)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"steps": [step("", waitFor=["b"])], "options": LOGGING}, "'b'}, which is not before"),
        ({"steps": [step("")]}, "logging must be CLOUD_LOGGING_ONLY"),
        ({"steps": [step("", secretEnv=["A"])], "options": LOGGING}, "no part for .*: secretEnv"),
        ({"steps": [step("")], "artifacts": {"a": 1}}, "no part for build: artifacts"),
    ],
)
def test_a_build_that_could_not_run_is_refused(build: Json, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check(build)
