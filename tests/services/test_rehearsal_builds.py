"""Cloud Build's stand-in: what it refuses, how it fills in, and how it runs steps."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.waiting import wait_until
from tools.rehearsal.builder import Builder, waits_for
from tools.rehearsal.cloudbuild import check, substituted
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError

LOGGING = {"logging": "CLOUD_LOGGING_ONLY"}
BUILTIN = {"PROJECT_ID": "a-project", "BUILD_ID": "id-1"}
ACCOUNT = "builder@a-project.iam.gserviceaccount.com"
IMAGE = "a-registry/a-project/images/app:latest"
# In place of docker, which is a program like others to a step.
DOCKER = '#!/bin/sh\necho "$0 $@"\n[ "$1" != push ] || echo "latest: digest: sha256:%s"\n' % (
    "ab" * 32
)

Run = Callable[..., Json]


def step(script: str, **fields: object) -> Json:
    return {"name": "docker", "entrypoint": "bash", "args": ["-c", script], **fields}


@pytest.fixture
def store() -> Store:
    return Store("a-project")


@pytest.fixture
def builder(tmp_path: Path, store: Store) -> Iterator[Builder]:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environ = {"PATH": path, "SECRET_OF_THE_USER": "x", "DOCKER_HOST": "unix:///a/socket"}
    made = Builder(tmp_path / "builds", store, environ, "a-registry")
    yield made
    made.stop()


@pytest.fixture
def submit(builder: Builder, store: Store) -> Callable[..., None]:
    """Return what queues a build of some steps, with one file in its source."""
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("file"))

    def put(*steps: Json, **fields: object) -> None:
        account = f"projects/a-project/serviceAccounts/{ACCOUNT}"
        build = {"id": "b", "steps": list(steps), "serviceAccount": account, **fields}
        store.put("builds", "b", build | {"status": "QUEUED"})
        builder.submit(build, source.getvalue())

    return put


@pytest.fixture
def run(submit: Callable[..., None], store: Store) -> Run:
    """Return what runs a build of these steps to its end and returns its document."""

    def until_the_end(*steps: Json, **fields: object) -> Json:
        submit(*steps, **fields)
        wait_until(lambda: "finishTime" in (store.get("builds", "b") or {}))
        return store.get("builds", "b") or {}

    return until_the_end


def test_steps_run_in_one_workspace_that_holds_the_source(run: Run, builder: Builder) -> None:
    built = run(step("ls; echo made >other", id="first"), step("cat other"))
    assert (built["status"], [each["status"] for each in built["steps"]]) == (
        "SUCCESS",
        ["SUCCESS", "SUCCESS"],
    )
    assert built["steps"][0]["timing"]["endTime"] >= built["steps"][0]["timing"]["startTime"]
    assert builder.log("b") == 'Step #0 - "first": file\nStep #1: made\nDONE\n'


def test_steps_that_wait_for_nothing_run_side_by_side(run: Run) -> None:
    one = "until [ -e b ]; do sleep 0.01; done; touch a"
    other = "touch b; until [ -e a ]; do sleep 0.01; done"
    assert run(step(one), step(other, waitFor=["-"]), timeout="20s")["status"] == "SUCCESS"


def test_a_step_sees_nothing_of_the_users_settings(run: Run, builder: Builder) -> None:
    run(step("echo [$SECRET_OF_THE_USER] $DOCKER_HOST"))
    assert "Step #0: [] unix:///a/socket\n" in builder.log("b")


def test_docker_builds_with_the_hosts_network(run: Run, builder: Builder) -> None:
    run({"name": "gcr.io/cloud-builders/docker", "args": ["build", "--tag=a", "."]})
    assert "docker build --network=host --tag=a .\n" in builder.log("b")


def test_a_failure_ends_the_build_and_what_is_under_way(run: Run) -> None:
    built = run(step("sleep 60", waitFor=["-"]), step("exit 3", waitFor=["-"]), step("echo no"))
    assert built["status"] == "FAILURE"
    assert "Step #1 failed: exit status 3" in built["statusDetail"]
    assert "status" not in built["steps"][2]


@pytest.mark.parametrize(
    ("steps", "fields", "status", "detail"),
    [
        ([step("sleep 60")], {"timeout": "0.2s"}, "TIMEOUT", "Step #0"),
        ([{"name": "gcr.io/cloud-builders/gcloud"}], {}, "FAILURE", "no builder"),
        ([step("true")], {"images": [IMAGE]}, "FAILURE", "Repository 'images' not found"),
    ],
)
def test_a_build_that_cannot_end_well_says_why(
    run: Run, steps: list[Json], fields: Json, status: str, detail: str
) -> None:
    built = run(*steps, **fields)
    assert (built["status"], detail in built["statusDetail"]) == (status, True)


def test_images_are_pushed_by_an_account_that_may(run: Run, store: Store) -> None:
    store.put("repositories", "images", {})
    assert "uploadArtifacts" in run(step("true"), images=[IMAGE])["statusDetail"]
    writer = {"role": "roles/artifactregistry.writer", "members": [f"serviceAccount:{ACCOUNT}"]}
    store.set_policy("repositories/images", {"bindings": [writer]})
    built = run(step("true"), images=[IMAGE])
    assert built["results"]["images"] == [{"name": IMAGE, "digest": f"sha256:{'ab' * 32}"}]
    assert built["timing"]["PUSH"]["endTime"]


def test_a_server_that_stops_ends_the_build_under_way(
    submit: Callable[..., None], builder: Builder, store: Store
) -> None:
    submit(step("sleep 60"))
    wait_until(lambda: (store.get("builds", "b") or {})["status"] == "WORKING")
    builder.stop()
    assert (store.get("builds", "b") or {})["status"] == "CANCELLED"


def test_an_archive_that_reaches_out_of_the_workspace_is_refused(
    builder: Builder, store: Store
) -> None:
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    store.put("builds", "b", {"status": "QUEUED"})
    builder.submit({"id": "b", "steps": []}, source.getvalue())
    wait_until(lambda: "finishTime" in (store.get("builds", "b") or {}))
    assert "cannot be unpacked" in (store.get("builds", "b") or {})["statusDetail"]


def test_a_step_waits_for_all_earlier_ones_unless_it_says() -> None:
    steps: list[Json] = [{"id": "a"}, {"waitFor": ["-"]}, {"waitFor": ["a"]}, {}]
    assert waits_for(steps) == [[], [], [0], [0, 1, 2]]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$_A-${_A}-$$_A", "x-x-$_A"),
        ("${PROJECT_ID}:$BUILD_ID", "a-project:id-1"),
        ("$_a $HOME_", "$_a "),
    ],
)
def test_variables_are_filled_in_as_cloud_build_does(text: str, filled: str) -> None:
    build = {"steps": [{"args": [text, "$_A"]}], "substitutions": {"_A": "x"}}
    if "HOME" in text:
        with pytest.raises(ApiError, match='"HOME_" is not matched in the substitution data'):
            substituted(build, BUILTIN)
    else:
        assert substituted(build, BUILTIN)["steps"] == [{"args": [filled, "x"]}]


@pytest.mark.parametrize(
    ("args", "given", "message"),
    [
        ("", {"_A": "x"}, '"_A" in the substitution data is not matched in the template'),
        ("$_A", {}, '"_A" is not matched in the substitution data'),
        ("$_A", {"_A": "x", "lower": "x"}, '"lower" does not respect format'),
    ],
)
def test_a_mismatch_of_variables_is_refused(args: str, given: Json, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        substituted({"steps": [{"args": [args]}], "substitutions": given}, BUILTIN)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"steps": [], "options": LOGGING}, "there are none"),
        ({"steps": [step("", id="a"), step("", id="a")], "options": LOGGING}, "two of one id"),
        ({"steps": [step("", waitFor=["b"])], "options": LOGGING}, "'b', which is not before"),
        ({"steps": [step("")]}, "logging must be CLOUD_LOGGING_ONLY"),
        ({"steps": [step("", secretEnv=["A"])], "options": LOGGING}, "no part for .*: secretEnv"),
        ({"steps": [step("")], "artifacts": {"a": 1}}, "no part for build: artifacts"),
    ],
)
def test_a_build_that_could_not_run_is_refused(build: Json, message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check(build)
