"""The stand-ins for Google's APIs, asked as gcloud asks them; containers are processes here."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.unit.waiting import wait_until
from tools.rehearsal.builder import Builder
from tools.rehearsal.host import free_ports
from tools.rehearsal.instance import Instance, container_of, limits_of
from tools.rehearsal.rehearsal import cloud
from tools.rehearsal.resources import multipart, secret_value
from tools.rehearsal.store import Json, Store
from tools.rehearsal.tokens import entry_status, id_token

PROJECT = "a-project"
HERE = f"/v1/projects/{PROJECT}"
SERVICES = f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}/services"
RUNNER = f"runner@{PROJECT}.iam.gserviceaccount.com"
EVERYONE = {"role": "roles/run.invoker", "members": ["allUsers"]}
# Answers with its name and what arrived, or ends at once where it is told to.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = f"{sys.argv[2]} {self.path} {len(body)}\\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    do_POST = do_GET
if sys.argv[2] == "broken": sys.exit("it is broken")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Ask = Callable[..., Any]


@pytest.fixture
def store() -> Store:
    """Return the memory of a project that has enabled everything and has one account."""
    made = Store(PROJECT)
    for api in ("artifactregistry", "cloudbuild", "iam", "run", "secretmanager"):
        made.put("enabled-apis", f"{api}.googleapis.com", {})
    made.put("accounts", RUNNER, {})
    return made


@pytest.fixture
def instances() -> list[Instance]:
    """Return the list of all that was started."""
    return []


@pytest.fixture
def ask(store: Store, tmp_path: Path, instances: list[Instance]) -> Iterator[Ask]:
    """Return what asks an API and returns what it answers, which must have a status."""
    (cloud_port,) = free_ports(1)

    def launch(revision: Json, port: int) -> Instance:
        command = [sys.executable, "-c", SERVER, str(port), container_of(revision)["image"]]
        instances.append(Instance(command, {}, tmp_path / "log", port))
        return instances[-1]

    def send(method: str, api: str, path: str, body: Json | None = None, status: int = 200) -> Any:
        url, host = f"http://127.0.0.1:{cloud_port}{path}", {"Host": f"{api}.test"}
        answer = requests.request(method, url, json=body, headers=host, timeout=30)
        assert answer.status_code == status, answer.text
        return (
            answer.json() if answer.headers["Content-Type"] == "application/json" else answer.text
        )

    with cloud(tmp_path, cloud_port, store, Builder(tmp_path / "b", store, {}, ""), launch):
        yield send


def test_a_request_that_is_not_known_is_named(ask: Ask) -> None:
    told = ask("GET", "pubsub", f"{HERE}/topics", status=501)
    assert "GET pubsub.test: /pubsub/v1/projects/a-project/topics" in told["error"]["message"]


def test_another_project_and_an_api_that_is_not_enabled_are_refused(ask: Ask, store: Store) -> None:
    told = ask("GET", "cloudresourcemanager", "/v1/projects/other", status=403)
    assert "no permission on project 'other'" in told["error"]["message"]
    store.delete("enabled-apis", "iam.googleapis.com")
    told = ask("GET", "iam", f"{HERE}/serviceAccounts", status=403)
    assert "gcloud services enable iam.googleapis.com" in told["error"]["message"]


def test_a_secret_is_read_by_whom_its_policy_names_until_it_is_removed(
    ask: Ask, store: Store
) -> None:
    ask("POST", "secretmanager", f"{HERE}/secrets?secretId=key", {})
    rule = f"{HERE}/secrets/key"
    ask("POST", "secretmanager", f"{rule}:addVersion", {"payload": {"data": "b25l"}})  # "one"
    assert secret_value(store, "key", "1", RUNNER) is None
    reader = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{RUNNER}"]}
    ask("POST", "secretmanager", f"{rule}:setIamPolicy", {"policy": {"bindings": [reader]}})
    assert secret_value(store, "key", "1", RUNNER) == "one"
    ask("DELETE", "secretmanager", rule)
    assert store.policy("secrets/key")["bindings"] == []
    assert secret_value(store, "key", "1", RUNNER) is None


def test_an_upload_is_kept_to_the_byte() -> None:
    data = b"\r\n\x00--not the boundary\n\n"
    head = b'--==\nContent-Type: application/json\n\n{"name": "a"}\n--==\nContent-Type: x/y\n\n'
    body = head + data + b"\n--==--"
    assert multipart("multipart/related; boundary='=='", body) == ({"name": "a"}, data)


# --- Cloud Run -----------------------------------------------------------------------------------


def service(image: str, traffic: list[Json] | None = None, name: str = "") -> Json:
    """Return what gcloud sends of a service, with a name for its new revision if it has one."""
    container = {"image": image, "startupProbe": {"httpGet": {"path": "/ready"}}}
    template = {"spec": {"containers": [container], "serviceAccountName": RUNNER}}
    return {
        "metadata": {"name": "hello", "namespace": PROJECT},
        "spec": {"template": {"metadata": {"name": name}, **template}, "traffic": traffic or []},
    }


@pytest.fixture
def apply(ask: Ask) -> Callable[..., Json]:
    """Return what makes or changes a service that everybody may call, and returns it."""

    def apply(*arguments: Any) -> Json:
        method, path = ("PUT", "/hello") if ask("GET", "r-run", SERVICES)["items"] else ("POST", "")
        found: Json = ask(method, "r-run", SERVICES + path, service(*arguments))
        policy = f"{HERE}/locations/r/services/hello:setIamPolicy"
        ask("POST", "run", policy, {"policy": {"bindings": [EVERYONE]}})
        return found

    return apply


def ready(document: Json) -> str:
    statuses = {one["type"]: one["status"] for one in document["status"]["conditions"]}
    return str(statuses["Ready"])


def serving(document: Json) -> str:
    (name,) = (one["revisionName"] for one in document["status"]["traffic"] if one.get("percent"))
    return str(name)


def answer(url: str) -> str:
    return requests.get(url, timeout=30).text.partition(" ")[0]


def test_a_broken_revision_fails_its_own_deployment_but_not_the_way_back(
    apply: Callable[..., Json], ask: Ask, instances: list[Instance]
) -> None:
    old = serving(first := apply("one"))
    held = [{"revisionName": old, "percent": 100}, {"revisionName": "new", "tag": "candidate"}]
    failed = apply("broken", held, "new")
    assert (ready(failed), serving(failed)) == ("False", old)
    why = failed["status"]["conditions"][0]["message"]
    assert "Container called exit(1)" in why
    assert "it is broken" in why
    tagged = apply("broken", held)  # its tag alone is enough for a change of traffic to fail
    assert ready(tagged) == "False"
    back = apply("broken", [{"revisionName": old, "percent": 100}])
    assert (ready(back), serving(back)) == ("True", old)
    gone = apply("broken", [{"revisionName": "hello-none", "percent": 100}])
    assert (ready(gone), serving(gone)) == ("False", old)
    assert answer(first["status"]["url"]) == "one"
    ask("DELETE", "r-run", f"{SERVICES}/hello")
    wait_until(lambda: not any(instance.runs for instance in instances))


def test_a_container_that_was_ended_is_started_again_for_traffic(
    apply: Callable[..., Json], instances: list[Instance]
) -> None:
    old = serving(first := apply("one"))
    apply("two", [{"latestRevision": True, "percent": 100}], "new")
    wait_until(lambda: not instances[0].runs)
    apply("two", [{"revisionName": old, "percent": 100}])
    assert answer(first["status"]["url"]) == "one"


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"serviceAccountName": "nobody"}, 403, "actAs' denied on service account nobody"),
        ({"traffic": [{"latestRevision": True, "percent": 50}]}, 501, "to one revision"),
    ],
)
def test_a_service_that_cannot_be_is_refused(
    ask: Ask, change: Json, status: int, message: str
) -> None:
    wanted = service("one")
    (wanted["spec"] if "traffic" in change else wanted["spec"]["template"]["spec"]).update(change)
    told = ask("POST", "r-run", SERVICES, wanted, status)
    assert message in told["error"]["message"]


def test_limits_leave_no_swap_and_ask_for_no_more_cpus_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    container = {"resources": {"limits": {"cpu": "4", "memory": "2Gi"}}}
    assert limits_of(container) == ["--memory=2g", "--memory-swap=2g", "--cpus=2"]


# --- the addresses of services -------------------------------------------------------------------


@pytest.fixture
def url(apply: Callable[..., Json]) -> str:
    """Return the address of a service that everybody may call."""
    return str(apply("one")["status"]["url"])


def test_a_request_arrives_whole_and_says_who_asked(url: str) -> None:
    asked = {"X-Forwarded-For": "192.0.2.1"}
    got = requests.post(f"{url}/a?b=c", bytes(3_000_000), headers=asked, timeout=30)
    assert got.text.startswith("one /a?b=c 3000000\n")
    assert "X-Forwarded-For: 192.0.2.1, 127.0.0.1\n" in got.text
    assert "X-Forwarded-Proto: http\n" in got.text
    assert "X-Cloud-Trace-Context: " in got.text
    assert f"Host: {url.removeprefix('http://')}\n" in got.text


@pytest.mark.parametrize("path", ["/healthz", "/_ah/x", "/eventlog"])
def test_what_google_would_not_pass_on_is_not_found(url: str, path: str) -> None:
    assert requests.get(url + path, timeout=30).status_code == 404


def test_a_body_over_the_limit_is_refused(url: str) -> None:
    assert requests.post(url, bytes(32 * 2**20 + 1), timeout=30).status_code == 413


def test_whom_a_service_keeps_out_is_answered_even_with_a_large_body(
    url: str, store: Store
) -> None:
    store.set_policy("services/hello", {})
    assert requests.post(url, bytes(1_000_000), timeout=30).status_code == 403


def test_an_upgraded_connection_passes_bytes_both_ways(url: str, instances: list[Instance]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        instances[0].port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n"
            )
            container, _ = server.accept()
            with container:
                arrived = container.recv(9999)
                assert b"Upgrade: w\r\n" in arrived
                assert b"Connection: upgrade\r\n" in arrived
                container.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: w\r\n\r\n")
                assert b" 101 " in caller.recv(9999)
                for text in (b"one", b"two"):
                    container.sendall(text)
                    assert caller.recv(9) == text
                    caller.sendall(text)
                    assert container.recv(9) == text


def test_a_token_of_somebody_invited_opens_its_own_service_alone(store: Store) -> None:
    url = "http://127.0.0.1:1"
    store.put("services", "hello", {"status": {"url": url}})
    mine = f"Bearer {id_token(store, RUNNER, url)}"
    assert entry_status(store, "hello", "") == entry_status(store, "hello", mine) == 403
    invited = {"role": "roles/run.invoker", "members": [f"serviceAccount:{RUNNER}"]}
    store.set_policy("services/hello", {"bindings": [invited]})
    assert entry_status(store, "hello", mine) == 200
    for wrong in (id_token(store, RUNNER, "https://b"), f"{mine[7:]}x", "é.é.é"):
        assert entry_status(store, "hello", f"Bearer {wrong}") == 401
    store.set_policy("services/hello", {"bindings": [EVERYONE]})
    assert entry_status(store, "hello", "") == 200


def test_who_was_let_in_or_kept_out_just_now_finds_it_as_before(store: Store) -> None:
    store.policy_s = 0.3
    for bindings, before, after in (([EVERYONE], 403, 200), ([], 200, 403)):
        store.set_policy("services/hello", {"bindings": bindings})
        assert store.policy("services/hello")["bindings"] == bindings
        assert entry_status(store, "hello", "") == before
        time.sleep(0.4)
        assert entry_status(store, "hello", "") == after


def test_the_metadata_server_tells_a_container_who_it_is(ask: Ask, store: Store) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https://a"
    token = ask("GET", "runner.metadata", path)
    assert (claims := store.get("id-tokens", token))
    assert (claims["aud"], claims["email"]) == ("https://a", RUNNER)
