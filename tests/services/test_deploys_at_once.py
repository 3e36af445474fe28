"""Deploys while others deploy the same service, and while what they grant is not in force yet."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.services.deployment.project import copy_repository
from tools.rehearsal.builder import Builder
from tools.rehearsal.host import free_ports
from tools.rehearsal.instance import Instance, container_of
from tools.rehearsal.rehearsal import clean_environ, cloud, gcloud_environ
from tools.rehearsal.store import Json, Store

PROJECT = "a-project"
CALL_S = 300
# Says which image it is; one whose tag begins with "broken" fails where others predict.
SERVER = """
import http.server, sys
image = sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fails = self.path == "/predict" and ":broken" in image
        self.send_response(500 if fails else 200)
        self.end_headers()
        self.wfile.write(f'Hello! "category": {image}'.encode())
    do_POST = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def store() -> Store:
    return Store(PROJECT)


@pytest.fixture
def deploy(store: Store, tmp_path: Path, root: Path) -> Iterator[Deploy]:
    """Return what deploys a tag of backend_v1's image as a person, with a copy of the code each."""
    if shutil.which("gcloud") is None:
        pytest.skip("needs gcloud")

    def launch(revision: Json, port: int) -> Instance:
        command = [sys.executable, "-c", SERVER, str(port), container_of(revision)["image"]]
        return Instance(command, {}, tmp_path / "run" / str(port), port)

    builder, (port,) = Builder(tmp_path / "builds", store, clean_environ(), "r"), free_ports(1)
    with cloud(tmp_path, port, store, builder, launch):
        environ = clean_environ() | gcloud_environ(tmp_path / "gcloud", port, store)
        environ |= {"PROJECT_ID": PROJECT, "PAUSE_S": "1"}

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
                assert requests.get(url, timeout=20).text.endswith(f":good{offset}")
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
