"""Deploys while others deploy the same service, and while what they grant is not in force yet."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.services.deployment.project import copy_repository
from tests.services.rehearsed_cloud import rehearsed_cloud
from tools.rehearsal.web import Store

PROJECT = "a-project"
CALL_S = 300

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store() -> Store:
    return Store(PROJECT)


@pytest.fixture
def deploy(store: Store, tmp_path: Path, root: Path) -> Iterator[Deploy]:
    """Return what deploys a tag of backend_v1's image as a person, with a copy of the code each."""
    if shutil.which("gcloud") is None:
        pytest.skip("needs gcloud")

    with rehearsed_cloud(tmp_path, store) as google:
        environ = google.environ()

        def run(person: str, script: str, **more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                tmp_path / person / "deployment" / script,
                check=False,
                env=environ | more,
                capture_output=True,
                text=True,
                timeout=CALL_S,
            )

        for person in ("ann", "bob"):
            copy_repository(root, tmp_path / person)
        done = run("ann", "setup.sh")
        assert done.returncode == 0, done.stderr
        yield lambda person, tag, **more: run(person, "deploy_backend_v1.sh", TAG=tag, **more)


@pytest.mark.large
def test_nobody_is_sent_to_what_another_deploys(deploy: Deploy, store: Store) -> None:
    first = deploy("ann", "first")
    assert first.returncode == 0, first.stderr
    url, answers, stopped = first.stdout.strip(), list[requests.Response](), threading.Event()

    def ask() -> None:
        while not stopped.wait(0.1):
            answers.append(requests.post(f"{url}/predict", timeout=20))

    def later(seconds: int, person: str, tag: str) -> subprocess.CompletedProcess[str]:
        time.sleep(max(0, seconds))
        return deploy(person, tag)

    with ThreadPoolExecutor(3) as pool:
        asking = pool.submit(ask)
        try:
            for offset in (-6, 0, 6):  # from both at once to one wholly within the other
                ann = pool.submit(later, offset, "ann", f"good{offset}").result
                bob = pool.submit(later, -offset, "bob", f"broken{offset}").result
                assert (ann().returncode, bob().returncode) == (0, 1), ann().stderr + bob().stderr
                assert f":good{offset} " in requests.get(url, timeout=20).text
                service = store.get("services", "backend-v1") or {}
                assert ["tag" in target for target in service["spec"]["traffic"]] == [False]
        finally:
            stopped.set()
        asking.result()
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.large
def test_a_deploy_ends_once_everyone_may_call(deploy: Deploy, store: Store) -> None:
    store.policy_s = 8.0
    for private, status in (("", 200), ("1", None), ("0", 200)):
        done = deploy("ann", f"private{private}", **({"PRIVATE": private} if private else {}))
        assert done.returncode == 0, done.stderr
        if status:
            assert requests.get(done.stdout.strip(), timeout=20).status_code == status
