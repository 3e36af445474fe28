"""The real gcloud and the real nginx before Cloud Run's stand-in; containers are processes."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.services import docker_stand_in
from tests.services.conftest import free_port
from tools.rehearsal.gcloud import clean_environ, gcloud_environ
from tools.rehearsal.run import stop_all

REGION = "northamerica-northeast1"
PROJECT = "rehearsal-run"
ACCOUNT = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
IMAGE = f"127.0.0.1:5000/{PROJECT}/imgserve/tiny"
PROBE = "httpGet.path=/ready,httpGet.port=8000,periodSeconds=1,timeoutSeconds=1"
QUICK = f"--startup-probe={PROBE},failureThreshold=2"
LIMIT_S = 60
BASE = (
    "--port=8000",
    f"--startup-probe={PROBE},failureThreshold=30",
    f"--service-account={ACCOUNT}",
    "--allow-unauthenticated",
)


class Cloud:
    """A rehearsal's server, the gcloud that talks to it, and a `docker` without a daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.containers = folder / "containers"
        self.docker = docker_stand_in.install(folder / "bin", self.containers)
        self._server: subprocess.Popen[bytes] | None = None
        self.start()
        settings = gcloud_environ(folder / "state", self.port, PROJECT)
        self._environ = clean_environ() | settings | {"CLOUDSDK_RUN_REGION": REGION}

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "tools.rehearsal.server"]
        command += ["--folder", str(self.folder / "state"), "--port", str(self.port)]
        self._server = subprocess.Popen(command, env={**os.environ, **self.docker})
        wait_until(lambda: can_connect(self.port))

    def stop(self) -> None:
        """Stop the server; containers and router go on."""
        assert self._server
        self._server.send_signal(signal.SIGTERM)
        assert self._server.wait(LIMIT_S) == 0

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        stop_all({**os.environ, **self.docker}, self.folder / "state")
        docker_stand_in.end_all(self.containers)

    def gcloud(self, *words: str, fails: bool = False, given: str = "") -> str:
        """Run gcloud; return what it says, errors too where it is to fail."""
        done = subprocess.run(
            ["gcloud", *words],
            env=self._environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout.strip()

    def deploy(self, service: str, *words: str, fails: bool = False, tag: str = "1") -> str:
        """Deploy a service."""
        image = f"--image={IMAGE}:{tag}"
        return self.gcloud("run", "deploy", service, image, *words, fails=fails)

    def traffic(self, service: str, *words: str) -> None:
        """Change a service's traffic."""
        self.gcloud("run", "services", "update-traffic", service, *words)

    def service(self, name: str) -> dict[str, Any]:
        """Return a service as gcloud describes it."""
        text = self.gcloud("run", "services", "describe", name, "--format=json")
        document: dict[str, Any] = json.loads(text)
        return document

    def running(self) -> list[str]:
        """Return the revisions whose containers run, once that has settled."""
        return [name.split(".")[2] for name in docker_stand_in.running(self.containers)]


def can_connect(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true: Any) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def env_of(url: str, **headers: str) -> dict[str, str]:
    """Return the environment of the container that answers."""
    answer = requests.get(url, headers=headers, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    env: dict[str, str] = answer.json()["env"]
    return env


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return a cloud with a project that is set up."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        apis = [f"{name}.googleapis.com" for name in ("run", "iam", "secretmanager")]
        cloud.gcloud("services", "enable", *apis)
        cloud.gcloud("iam", "service-accounts", "create", "imgserve-run")
        create = ("secrets", "create", "imgserve-key", "--data-file=-")
        cloud.gcloud(*create, "--replication-policy=automatic", given="open sesame")
        yield cloud
    finally:
        cloud.close()


@pytest.fixture(scope="module")
def hello(cloud: Cloud) -> dict[str, Any]:
    """Return a public service that was deployed once."""
    cloud.gcloud(
        *("secrets", "add-iam-policy-binding", "imgserve-key"),
        *(f"--member=serviceAccount:{ACCOUNT}", "--role=roles/secretmanager.secretAccessor"),
    )
    cloud.deploy(
        "hello",
        *("--port=8000", "--memory=256Mi", "--cpu=1", "--concurrency=8", "--max-instances=2"),
        *(
            "--timeout=60",
            "--cpu-boost",
            f"--startup-probe={PROBE},failureThreshold=30",
            "--session-affinity",
        ),
        f"--service-account={ACCOUNT}",
        *("--set-env-vars=^@^COLOUR=red,blue@SIZE=3", "--set-secrets=KEY=imgserve-key:latest"),
        "--allow-unauthenticated",
    )
    return cloud.service("hello")


def test_container_gets_what_the_contract_and_the_flags_say(hello: dict[str, Any]) -> None:
    revision = hello["status"]["latestReadyRevisionName"]
    env = env_of(hello["status"]["url"])
    assert env["K_SERVICE"] == env["K_CONFIGURATION"] == "hello"
    assert env["K_REVISION"] == revision
    assert (env["COLOUR"], env["SIZE"], env["KEY"]) == ("red,blue", "3", "open sesame")
    assert env["HOST"] == env["STREAMLIT_SERVER_ADDRESS"] == "127.0.0.1"


def test_limits_reach_docker_and_the_secret_is_in_no_command(
    cloud: Cloud, hello: dict[str, Any]
) -> None:
    commands = (cloud.containers / "commands.log").read_text()
    assert f'"--memory={256 * 2**20}", "--memory-swap={256 * 2**20}", "--cpus=1"' in commands
    assert '"--env=KEY"' in commands
    assert "sesame" not in commands


def test_revision_is_run_by_its_digest(cloud: Cloud, hello: dict[str, Any]) -> None:
    name = hello["status"]["latestReadyRevisionName"]
    digest = cloud.gcloud(
        "run", "revisions", "describe", name, "--format=value(status.imageDigest)"
    )
    assert digest == f"{IMAGE}@{docker_stand_in.DIGEST}"
    assert f'"{digest}"]' in (cloud.containers / "commands.log").read_text()


def test_service_is_described_as_ready(hello: dict[str, Any]) -> None:
    conditions = {each["type"]: each["status"] for each in hello["status"]["conditions"]}
    assert conditions == {"Ready": "True", "ConfigurationsReady": "True", "RoutesReady": "True"}
    assert hello["status"]["observedGeneration"] == hello["metadata"]["generation"]


def test_router_tells_the_container_who_asked(hello: dict[str, Any]) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7"}
    answer = requests.get(hello["status"]["url"], headers=headers, timeout=LIMIT_S)
    seen = answer.json()["headers"]
    assert seen["X-Forwarded-For"] == "203.0.113.7, 127.0.0.1"
    assert seen["Host"] == urlsplit(hello["status"]["url"]).netloc
    assert seen["X-Cloud-Trace-Context"].endswith("/1")


def test_websockets_pass(hello: dict[str, Any]) -> None:
    with socket.create_connection(
        ("127.0.0.1", urlsplit(hello["status"]["url"]).port or 0), LIMIT_S
    ) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        file = connection.makefile("rb")
        assert b" 101 " in file.readline()
        while file.readline().strip():
            pass
        connection.sendall(b"are you there?\n")
        assert file.readline() == b"are you there?\n"


@pytest.mark.parametrize("path", ["/healthz", "/_ah/health", "/eventlog"])
def test_paths_that_google_keeps_for_itself_do_not_arrive(hello: dict[str, Any], path: str) -> None:
    assert requests.get(hello["status"]["url"] + path, timeout=LIMIT_S).status_code == 404


def test_body_over_the_limit_is_refused(hello: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(urlsplit(hello["status"]["url"]).netloc)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(33 * 2**20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.fixture(scope="module")
def victim(cloud: Cloud) -> dict[str, Any]:
    """Return a service that serves, to deploy broken revisions of."""
    cloud.deploy("victim", *BASE)
    return cloud.service("victim")


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        (["--set-env-vars=FAIL=3"], ["PORT=8000 environment variable", "called exit(3)."]),
        (
            ["--set-env-vars=MUTE=1", QUICK],
            ['HTTP probe of path "/ready" on port 8000 failed 2 times'],
        ),
        (["--set-env-vars=GREEDY=1"], ["used more memory than its limit"]),
        (["--set-secrets=KEY=nothing:latest"], ["nothing/versions/latest was not found"]),
    ],
)
def test_broken_revision_fails_the_deployment_and_the_old_one_serves_on(
    cloud: Cloud, victim: dict[str, Any], words: list[str], phrases: list[str]
) -> None:
    said = cloud.deploy("victim", *words, fails=True)
    assert [phrase for phrase in phrases if phrase not in said] == []
    before, after = victim["status"], cloud.service("victim")["status"]
    assert env_of(before["url"])["K_REVISION"] == before["latestReadyRevisionName"]
    assert after["traffic"] == before["traffic"]
    assert after["latestReadyRevisionName"] == before["latestReadyRevisionName"]
    assert after["latestCreatedRevisionName"] != before["latestCreatedRevisionName"]


def test_missing_image_is_named_and_nothing_serves(cloud: Cloud) -> None:
    said = cloud.deploy("empty", *BASE, tag="missing", fails=True)
    assert f"Image '{IMAGE}:missing' not found" in said
    url = cloud.service("empty")["status"]["url"]
    answer = requests.get(url, timeout=LIMIT_S)
    assert (answer.status_code, "no revision that is ready" in answer.text) == (503, True)
    cloud.gcloud("run", "services", "delete", "empty")
    assert cloud.gcloud("run", "services", "list", "--filter=metadata.name=empty") == ""


def test_log_of_a_broken_revision_is_quoted_and_kept(cloud: Cloud) -> None:
    said = cloud.deploy("noisy", *BASE, "--set-env-vars=FAIL=2", fails=True)
    assert "\n  this is noisy-00001-" in said
    log = Path(said.partition("Logs: ")[2].split("\n")[0])
    assert log.read_text().startswith("this is noisy-00001-")


def test_candidate_is_tried_promoted_rolled_back_and_shared_with(cloud: Cloud) -> None:
    cloud.deploy("staged", *BASE, "--set-env-vars=COLOUR=red")
    first = cloud.service("staged")["status"]
    url, old = first["url"], first["latestReadyRevisionName"]
    cloud.deploy("staged", "--update-env-vars=COLOUR=green", "--no-traffic", "--tag=candidate")
    tagged = next(each for each in cloud.service("staged")["status"]["traffic"] if "tag" in each)
    assert (env_of(tagged["url"])["COLOUR"], env_of(url)["COLOUR"]) == ("green", "red")

    cloud.traffic("staged", "--to-latest", "--remove-tags=candidate")
    assert env_of(url)["COLOUR"] == "green"
    with pytest.raises(requests.ConnectionError):
        requests.get(tagged["url"], timeout=LIMIT_S)
    wait_until(lambda: old not in cloud.running())

    cloud.traffic("staged", f"--to-revisions={old}=100")
    assert env_of(url)["COLOUR"] == "red"

    new = cloud.service("staged")["status"]["latestReadyRevisionName"]
    cloud.traffic("staged", f"--to-revisions={old}=50,{new}=50")
    assert {env_of(url)["COLOUR"] for _ in range(40)} == {"red", "green"}

    cloud.gcloud("run", "services", "delete", "staged")
    wait_until(lambda: not [name for name in cloud.running() if name.startswith("staged")])


def test_rollback_after_a_broken_deployment_succeeds(cloud: Cloud, victim: dict[str, Any]) -> None:
    old = victim["status"]["latestReadyRevisionName"]
    cloud.deploy("victim", "--clear-secrets", "--set-env-vars=FAIL=1", fails=True)
    cloud.traffic("victim", f"--to-revisions={old}=100")
    assert cloud.service("victim")["status"]["traffic"] == [{"revisionName": old, "percent": 100}]


def test_traffic_to_a_revision_that_is_not_there_is_refused(
    cloud: Cloud, hello: dict[str, Any]
) -> None:
    words = ("run", "services", "update-traffic", "hello", "--to-revisions=nobody=100")
    assert "Revision 'nobody' does not exist" in cloud.gcloud(*words, fails=True)
    assert env_of(hello["status"]["url"])["K_SERVICE"] == "hello"
    cloud.traffic("hello", "--to-latest")


def test_private_service_asks_who_is_calling(cloud: Cloud, hello: dict[str, Any]) -> None:
    cloud.deploy(
        "private", "--port=8000", f"--service-account={ACCOUNT}", "--no-allow-unauthenticated"
    )
    url = cloud.service("private")["status"]["url"]
    metadata = env_of(hello["status"]["url"])["GCE_METADATA_HOST"]

    def token(audience: str) -> str:
        path = "computeMetadata/v1/instance/service-accounts/default/identity"
        answer = requests.get(
            f"http://{metadata}/{path}",
            params={"audience": audience},
            headers={"Metadata-Flavor": "Google"},
            timeout=LIMIT_S,
        )
        assert answer.headers["Metadata-Flavor"] == "Google"
        return answer.text

    def status(authorization: str) -> int:
        headers = {"Authorization": authorization}
        return requests.get(url, headers=headers, timeout=LIMIT_S).status_code

    assert requests.get(url, timeout=LIMIT_S).status_code == 403
    refused = requests.get(url, headers={"Authorization": "Bearer nonsense"}, timeout=LIMIT_S)
    assert refused.status_code == 401
    assert "invalid_token" in refused.headers["WWW-Authenticate"]
    assert status(f"Bearer {token(url)}") == 403
    cloud.gcloud(
        *("run", "services", "add-iam-policy-binding", "private"),
        *(f"--member=serviceAccount:{ACCOUNT}", "--role=roles/run.invoker"),
    )
    assert status(f"Bearer {token(url)}") == 200
    assert status(f"Bearer {token('http://somebody.else')}") == 401


def test_container_that_ends_is_started_again(cloud: Cloud, hello: dict[str, Any]) -> None:
    url = hello["status"]["url"]
    broken = requests.get(f"{url}/die", timeout=LIMIT_S)
    assert (broken.status_code, "connection to the instance" in broken.text) == (503, True)
    wait_until(lambda: requests.get(url, timeout=LIMIT_S).status_code == 200)


def test_restarted_server_adopts_containers_and_keeps_addresses(
    cloud: Cloud, hello: dict[str, Any]
) -> None:
    before = docker_stand_in.running(cloud.containers)
    cloud.stop()
    assert env_of(hello["status"]["url"])["K_SERVICE"] == "hello"
    cloud.start()
    assert docker_stand_in.running(cloud.containers) == before
    assert cloud.service("hello")["status"]["url"] == hello["status"]["url"]
    assert env_of(hello["status"]["url"])["K_SERVICE"] == "hello"


def test_container_that_died_while_the_server_was_away_is_replaced(
    cloud: Cloud, hello: dict[str, Any]
) -> None:
    cloud.stop()
    [name] = [n for n in docker_stand_in.running(cloud.containers) if ".hello-" in n]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port_of(cloud, name)}/die", timeout=LIMIT_S)
    cloud.start()
    url = hello["status"]["url"]
    wait_until(lambda: requests.get(url, timeout=LIMIT_S).status_code == 200)


def port_of(cloud: Cloud, name: str) -> str:
    """Return the port that a container was given."""
    env: dict[str, str] = json.loads((cloud.containers / f"{name}.json").read_text())["env"]
    return env["PORT"]


def test_daemon_that_cannot_limit_memory_is_no_obstacle(cloud: Cloud) -> None:
    cloud.deploy("unlimited", *BASE, "--set-env-vars=REFUSE_LIMITS=1")
    assert env_of(cloud.service("unlimited")["status"]["url"])["REFUSE_LIMITS"] == "1"


def test_unknown_request_is_answered_501_with_its_name(cloud: Cloud) -> None:
    headers = {"Host": f"{REGION}-run.test"}
    address = f"http://127.0.0.1:{cloud.port}/apis/run.googleapis.com/v1/namespaces/{PROJECT}/jobs"
    answer = requests.get(address, headers=headers, timeout=LIMIT_S)
    assert answer.status_code == 501
    assert "GET" in answer.json()["error"]["message"]
    assert f"/namespaces/{PROJECT}/jobs" in answer.json()["error"]["message"]
