"""Cloud Build's stand-in: what it refuses, how it fills in, and how it runs steps."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.exceptions import HTTPException

from tools.rehearsal.cloudbuild import Builder, refuse_unknown, substituted
from tools.rehearsal.web import Json, Store

ACCOUNT = "builder@a-project.iam.gserviceaccount.com"
IMAGE = "a-registry/a-project/images/app:latest"

Run = Callable[..., Json]


def step(script: str, **fields: object) -> Json:
    return {"name": "docker", "entrypoint": "bash", "args": ["-c", script], **fields}


@pytest.fixture
def store() -> Store:
    return Store("a-project")


@pytest.fixture
def builder(tmp_path: Path, store: Store) -> Builder:
    """Return a builder for whom docker is a program that says what it was asked for."""
    docker = tmp_path / "programs" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$0 $@"\n')
    docker.chmod(0o755)
    path = f"{docker.parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "SECRET_OF_THE_USER": "x", "DOCKER_HOST": "unix:///a/socket"}
    return Builder(tmp_path / "builds", store, environ, "a-registry", lambda: None)


@pytest.fixture
def run(builder: Builder) -> Run:
    """Return what runs a build of some steps, with one empty file in its source."""

    def to_its_end(*steps: Json, **fields: object) -> Json:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("file"))
        numbered = [{"id": str(number), **step} for number, step in enumerate(steps)]
        account = f"projects/a-project/serviceAccounts/{ACCOUNT}"
        build = {"id": "b", "steps": numbered, "serviceAccount": account, **fields}
        return builder.run(build, archive.getvalue())

    return to_its_end


def test_a_step_waits_for_all_earlier_ones_unless_it_says(run: Run) -> None:
    first = step("until [ -e b ]; do sleep 0.01; done; touch a")
    at_once = step("touch b; until [ -e a ]; do sleep 0.01; done; touch c", waitFor=["-"])
    built = run(first, at_once, step("[ -e a ]", waitFor=["0"]), step("[ -e a ] && [ -e c ]"))
    assert built["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (step("echo [$SECRET_OF_THE_USER] $DOCKER_HOST"), "[] unix:///a/socket\n"),
        (
            {
                "name": "gcr.io/cloud-builders/docker",
                "args": ["build", "--network=cloudbuild", "."],
            },
            "docker build --network=host . --cache-from=a-registry/a-project/imgserve/backend_v1\n",
        ),
    ],
    ids=["nothing of the user's settings", "the host's network"],
)
def test_a_step_sees(run: Run, builder: Builder, given: Json, said: str) -> None:
    run(given)
    assert said in builder.log("b").read_text()


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
    built = run(step_that_fails, step("true", waitFor=["-"]), step("touch never"), **fields)
    assert (built["status"], detail in built["statusDetail"]) == ("FAILURE", True)
    assert ("status" in built["steps"][2]) == ("images" in fields)  # none begins after a failure


def test_images_are_pushed_by_an_account_that_may(run: Run, store: Store, builder: Builder) -> None:
    store.put("repositories", "images", {})
    assert "uploadArtifacts" in run(step("true"), images=[IMAGE])["statusDetail"]
    writer = {"role": "roles/artifactregistry.writer", "members": [f"serviceAccount:{ACCOUNT}"]}
    store.set_policy("repositories/images", {"bindings": [writer]})
    assert run(step("true"), images=[IMAGE])["status"] == "SUCCESS"
    assert f"docker push {IMAGE}\n" in builder.log("b").read_text()


def test_variables_are_filled_in_as_cloud_build_does() -> None:
    build = {"args": ["$_A-${_A}-$$_A", "${PROJECT_ID}:$BUILD_ID $(a)"]}
    given, builtin = {"_A": 'a "quote"'}, {"PROJECT_ID": "a-project", "BUILD_ID": "id-1"}
    filled = substituted({**build, "substitutions": given}, builtin)
    assert filled["args"] == ['a "quote"-a "quote"-$_A', "a-project:id-1 $(a)"]
    with pytest.raises(HTTPException, match="_A'] in the template are not in the substitution"):
        substituted(build, builtin)


@pytest.mark.parametrize(
    "build", [{"steps": [{"secretEnv": ["A"]}]}, {"steps": [], "secretEnv": 1}]
)
def test_what_is_not_carried_out_is_refused(build: Json) -> None:
    with pytest.raises(HTTPException, match="no part for a build's secretEnv"):
        refuse_unknown(build)
