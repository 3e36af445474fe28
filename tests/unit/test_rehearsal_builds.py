"""The runner of build steps, with a stand-in for the docker command."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.waiting import wait_until
from tools.rehearsal.apis.artifactregistry import KIND as REPOSITORIES
from tools.rehearsal.builds import log
from tools.rehearsal.builds.record import KIND, UNDER_WAY
from tools.rehearsal.builds.runner import Runner
from tools.rehearsal.objects import keep
from tools.rehearsal.store import Store

REGISTRY = "127.0.0.1:5999"
IMAGE = f"{REGISTRY}/p/repo/app:latest"
# Notes how it was called; answers what the runner asks of it.
DOCKER = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$0.calls"
case "$1" in
  images) cat "$0.images" 2>/dev/null ;;
  image) echo sha256:1234 ;;
  rmi) echo "Untagged: $2" ;;
  push) echo "latest: digest: sha256:{digest} size: 524" ;;
esac
""".replace("{digest}", "ab" * 32)

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "documents")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """Return the stand-in; beside it, in ``docker.calls``, is how it was called."""
    command = tmp_path / "host" / "docker"
    command.parent.mkdir()
    command.write_text(DOCKER)
    command.chmod(0o755)
    return command


@pytest.fixture
def environ(docker: Path) -> dict[str, str]:
    return {
        "PATH": f"{docker.parent}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_HOST": "unix:///nowhere.sock",
        "HOME": "/home-of-the-user",
        "SECRET_OF_THE_USER": "x",
        "REHEARSAL_REGISTRY": REGISTRY,
        "REHEARSAL_DOCKER_FLAGS": "--network host",
    }


@pytest.fixture
def runner(tmp_path: Path, store: Store, environ: dict[str, str]) -> Iterator[Runner]:
    made = Runner(tmp_path, store, environ)
    yield made
    made.stop()


@pytest.fixture
def submit(runner: Runner, store: Store) -> Callable[..., str]:
    """Return what queues a build of these steps and returns its name."""

    def put(*steps: dict[str, Any], **fields: Any) -> str:
        name = f"build-{len(store.names(KIND))}"
        build = {"id": name, "projectId": "p", "status": "QUEUED", "results": {}, **fields}
        build["steps"] = [{"name": "docker", "status": "QUEUED", **step} for step in steps]
        store.put(KIND, name, build)
        runner.submit(build)
        return name

    return put


@pytest.fixture
def run(submit: Callable[..., str], store: Store) -> Run:
    """Return what runs a build of these steps to its end and returns its resource."""

    def to_the_end(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
        name = submit(*steps, **fields)
        wait_until(lambda: (store.get(KIND, name) or {})["status"] not in UNDER_WAY)
        return store.get(KIND, name) or {}

    return to_the_end


def bash(script: str, **fields: Any) -> dict[str, Any]:
    """Return a step that runs a script."""
    return {"entrypoint": "bash", "args": ["-c", script], **fields}


def lines(runner: Runner, build: dict[str, Any]) -> list[str]:
    """Return a build's log."""
    return log.text(runner.machine.log_path(build["id"])).splitlines()


def statuses(build: dict[str, Any]) -> list[str]:
    """Return the statuses of the steps."""
    return [step["status"] for step in build["steps"]]


def calls(docker: Path) -> list[str]:
    """Return how the stand-in was called."""
    return Path(f"{docker}.calls").read_text().splitlines()


def test_steps_run_in_order_in_one_workspace(run: Run, runner: Runner) -> None:
    build = run(bash("echo one > file", id="write"), bash("cat file; ls ..", id="read"))
    assert build["status"] == "SUCCESS"
    assert statuses(build) == ["SUCCESS", "SUCCESS"]
    said = lines(runner, build)
    assert 'Step #1 - "read": one' in said
    assert said.index('Finished Step #0 - "write"') < said.index('Starting Step #1 - "read"')
    assert said[-1] == "DONE"
    assert build["steps"][0]["timing"]["endTime"] <= build["steps"][1]["timing"]["startTime"]
    assert build["startTime"] <= build["finishTime"]


def test_steps_that_wait_for_nothing_run_side_by_side(run: Run) -> None:
    # Each can only end when the other has begun.
    meet = "touch {mine}; until [ -e {other} ]; do sleep 0.02; done"
    build = run(
        bash(meet.format(mine="a", other="b"), waitFor=["-"]),
        bash(meet.format(mine="b", other="a"), waitFor=["-"]),
        timeout="20s",
    )
    assert build["status"] == "SUCCESS"


def test_step_sees_its_own_environment_and_none_of_the_users(run: Run, runner: Runner) -> None:
    build = run(bash("env; echo home $HOME", env=["GREETING=a=b"]))
    said = "\n".join(lines(runner, build))
    assert "Step #0: GREETING=a=b" in said
    assert "Step #0: DOCKER_HOST=unix:///nowhere.sock" in said
    assert f"Step #0: home {runner.machine.build_folder(build['id'])}" in said
    assert f"DOCKER_CONFIG={runner.machine.folder}" in said
    assert "SECRET_OF_THE_USER" not in said
    assert "/home-of-the-user" not in said


def test_script_runs_and_folder_is_where_the_step_says(run: Run, runner: Runner) -> None:
    step = {"script": "pwd\necho $0 | tr -d /", "dir": "sub/folder"}
    build = run(step, {"script": "#!/usr/bin/env bash\necho $BASH_VERSION", "dir": "/workspace/x"})
    assert build["status"] == "SUCCESS"
    assert any(line.endswith("/workspace/sub/folder") for line in lines(runner, build))


def test_failure_stops_the_build_and_ends_what_is_under_way(run: Run, runner: Runner) -> None:
    build = run(
        bash("sleep 60 & sleep 60", waitFor=["-"]),
        bash("exit 3", id="fails", waitFor=["-"]),
        bash("echo never"),
    )
    assert build["status"] == "FAILURE"
    assert statuses(build) == ["CANCELLED", "FAILURE", "QUEUED"]
    assert build["steps"][1]["exitCode"] == 3
    detail = 'build step 1 "docker" failed: step exited with non-zero status: 3'
    assert build["failureInfo"] == {"type": "USER_BUILD_STEP", "detail": detail}
    assert lines(runner, build)[-2:] == ["ERROR", f"ERROR: {detail}"]


def test_allowed_failure_does_not_stop_the_build(run: Run) -> None:
    build = run(
        bash("exit 1", allowFailure=True), bash("exit 4", allowExitCodes=[4]), bash("exit 0")
    )
    assert build["status"] == "SUCCESS"
    assert statuses(build) == ["FAILURE", "FAILURE", "SUCCESS"]


def test_build_out_of_time_is_stopped(run: Run) -> None:
    build = run(bash("sleep 60"), bash("true"), timeout="0.5s")
    assert build["status"] == "TIMEOUT"
    assert statuses(build) == ["CANCELLED", "QUEUED"]


def test_step_out_of_time_fails_the_build(run: Run) -> None:
    build = run(bash("sleep 60", timeout="0.5s"))
    assert build["status"] == "FAILURE"
    assert statuses(build) == ["TIMEOUT"]
    assert build["statusDetail"] == 'build step 0 "docker" timed out after 0.5s'


def test_build_under_way_is_cancelled(
    submit: Callable[..., str], runner: Runner, store: Store
) -> None:
    running, waiting = submit(bash("sleep 60")), submit(bash("true"))
    wait_until(lambda: (store.get(KIND, running) or {})["steps"][0]["status"] == "WORKING")
    runner.cancel(waiting)
    runner.cancel(running)
    wait_until(lambda: (store.get(KIND, running) or {})["status"] == "CANCELLED")
    assert statuses(store.get(KIND, running) or {}) == ["CANCELLED"]
    assert (store.get(KIND, waiting) or {})["status"] == "CANCELLED"


def test_cancelled_build_never_runs_and_the_next_one_does(
    submit: Callable[..., str], runner: Runner, store: Store, run: Run, tmp_path: Path
) -> None:
    first = submit(bash("sleep 0.5"))
    cancelled = submit(bash(f"touch {tmp_path}/ran"))
    runner.cancel(cancelled)
    assert run(bash("true"))["status"] == "SUCCESS"
    assert (store.get(KIND, first) or {})["status"] == "SUCCESS"
    assert not (tmp_path / "ran").exists()


def test_build_that_a_dead_server_left_is_found_as_failed(tmp_path: Path, store: Store) -> None:
    store.put(KIND, "lost", {"id": "lost", "status": "WORKING"})
    store.put(KIND, "done", {"id": "done", "status": "SUCCESS"})
    Runner(tmp_path, store, {}).stop()
    assert (store.get(KIND, "lost") or {})["status"] == "INTERNAL_ERROR"
    assert (store.get(KIND, "done") or {})["status"] == "SUCCESS"


def test_stopped_server_ends_the_build_under_way(
    submit: Callable[..., str], runner: Runner, store: Store
) -> None:
    name = submit(bash("sleep 60"))
    wait_until(lambda: (store.get(KIND, name) or {})["steps"][0]["status"] == "WORKING")
    runner.stop()
    assert (store.get(KIND, name) or {})["status"] == "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "gcr.io/cloud-builders/gcloud"}, "has no builder"),
        (bash("true", dir="../.."), "runs steps in /workspace only"),
        (bash("true", dir="/etc"), "runs steps in /workspace only"),
        ({"entrypoint": "no-such-command"}, "no-such-command"),
    ],
)
def test_step_that_cannot_run_says_why(step: dict[str, Any], message: str, run: Run) -> None:
    build = run(step)
    assert build["status"] == "FAILURE"
    assert message in build["statusDetail"]


def test_builds_of_images_get_the_rehearsals_flags(run: Run, docker: Path) -> None:
    run({"args": ["build", "-t", "x y", "."]}, {"args": ["image", "build", "."]}, {"args": ["ps"]})
    assert calls(docker)[1:] == [
        "build --network host -t x y .",
        "build --network host .",
        "ps",
    ]


def test_builder_may_be_named_in_full(run: Run, docker: Path) -> None:
    run({"name": "gcr.io/cloud-builders/docker:24.0.9", "args": ["version"]})
    assert calls(docker)[-1] == "version"


def test_build_begins_without_the_projects_images_and_touches_no_others(
    run: Run, docker: Path
) -> None:
    digest = f"sha256:{'cd' * 32}"
    Path(f"{docker}.images").write_text(
        f"{REGISTRY}/p/repo/app latest {digest}\n"
        f"{REGISTRY}/p/repo/base <none> {digest}\n"
        f"{REGISTRY}/other/repo/app latest {digest}\n"
        f"python 3.11 <none>\n"
    )
    run(bash("true"))
    assert [call for call in calls(docker) if call.startswith("rmi")] == [
        f"rmi {REGISTRY}/p/repo/app:latest",
        f"rmi {REGISTRY}/p/repo/base@{digest}",
    ]


def test_images_are_pushed_after_the_steps_and_their_digests_recorded(
    run: Run, docker: Path, store: Store
) -> None:
    store.put(REPOSITORIES, "projects/p/locations/l/repositories/repo", {})
    build = run({"args": ["ps"]}, images=[IMAGE])
    assert build["status"] == "SUCCESS"
    [pushed] = build["results"]["images"]
    assert (pushed["name"], pushed["digest"]) == (IMAGE, f"sha256:{'ab' * 32}")
    assert calls(docker)[-1] == f"push {IMAGE}"


def test_nothing_is_pushed_after_a_failure(run: Run, docker: Path, store: Store) -> None:
    store.put(REPOSITORIES, "projects/p/locations/l/repositories/repo", {})
    assert run(bash("exit 1"), images=[IMAGE])["results"] == {}
    assert not any(call.startswith("push") for call in calls(docker))


def test_push_into_a_missing_repository_fails(run: Run) -> None:
    build = run(bash("true"), images=[IMAGE])
    assert build["failureInfo"]["type"] == "PUSH_FAILED"
    assert 'Repository "repo" not found' in build["statusDetail"]


def test_push_needs_the_role_on_the_repository(run: Run, store: Store) -> None:
    repository = "projects/p/locations/l/repositories/repo"
    store.put(REPOSITORIES, repository, {})
    account = {"serviceAccount": "projects/p/serviceAccounts/a@p"}
    build = run(bash("true"), images=[IMAGE], **account)
    assert build["failureInfo"]["type"] == "PUSH_NOT_AUTHORIZED"
    writer = {"role": "roles/artifactregistry.writer", "members": ["serviceAccount:a@p"]}
    store.put("policies", repository, {"bindings": [writer]})
    assert run(bash("true"), images=[IMAGE], **account)["status"] == "SUCCESS"


def archive(*names: str) -> bytes:
    """Return a compressed archive of files with these names."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name))
    return content.getvalue()


def source(store: Store, folder: Path, data: bytes) -> dict[str, Any]:
    """Return the source field of a build whose archive has these bytes."""
    keep(store, folder, "bucket", "source.tgz", data=data, kind="application/x-tar")
    return {"storageSource": {"bucket": "bucket", "object": "source.tgz"}}


def test_workspace_holds_the_uploaded_archive(
    run: Run, runner: Runner, store: Store, tmp_path: Path
) -> None:
    build = run(bash("ls -d a/*"), source=source(store, tmp_path, archive("a/b", "a/c")))
    assert [line for line in lines(runner, build) if line.startswith("Step #0: a/")] == [
        "Step #0: a/b",
        "Step #0: a/c",
    ]
    assert not (runner.machine.build_folder(build["id"]) / "workspace").exists()


@pytest.mark.parametrize("data", [archive("../outside"), archive("a")[:20], b"not an archive"])
def test_archive_that_cannot_be_trusted_is_refused(
    data: bytes, run: Run, store: Store, tmp_path: Path
) -> None:
    build = run(bash("true"), source=source(store, tmp_path, data))
    assert build["failureInfo"]["type"] == "FETCH_SOURCE_FAILED"
    assert statuses(build) == ["QUEUED"]
    assert list(tmp_path.rglob("outside")) == []
