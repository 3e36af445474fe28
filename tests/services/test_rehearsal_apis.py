"""The stand-ins for Google's APIs, asked as gcloud asks them; containers are processes here."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.unit.waiting import wait_until
from tools.rehearsal.cloud_run import CloudRun
from tools.rehearsal.front_door import FrontDoor
from tools.rehearsal.instance import Instance, container_of, limits_of
from tools.rehearsal.rehearsal import BLUEPRINTS
from tools.rehearsal.resources import secret_value
from tools.rehearsal.storage import Objects, parts
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError, create_app

PROJECT = "a-project"
HERE = f"/v1/projects/{PROJECT}"
SERVICES = f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}/services"
RUNNER = f"runner@{PROJECT}.iam.gserviceaccount.com"
# Answers 200, or ends at once where it is told to.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
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
def app(store: Store, tmp_path: Path, instances: list[Instance]) -> Iterator[Flask]:
    def launch(revision: Json, port: int) -> Instance:
        command = [sys.executable, "-c", SERVER, str(port), container_of(revision)["image"]]
        instance = Instance(command, {}, tmp_path / "log")
        instances.append(instance)
        return instance

    door = FrontDoor(lambda *_: 200)
    run = CloudRun(store, door, launch)
    yield create_app(BLUEPRINTS, (store, run, Objects()))
    run.stop()
    door.close()


@pytest.fixture
def ask(app: Flask) -> Ask:
    """Return what asks an API and returns what it answers, which must have a status."""

    def send(method: str, api: str, path: str, body: Json | None = None, status: int = 200) -> Any:
        answer = app.test_client().open(
            path, method=method, json=body, headers={"Host": f"{api}.test"}
        )
        assert answer.status_code == status, answer.text
        return answer.get_json()

    return send


def test_a_request_that_is_not_known_is_named(ask: Ask) -> None:
    told = ask("GET", "pubsub", f"{HERE}/topics", status=501)
    assert "GET pubsub.test: /pubsub/v1/projects/a-project/topics" in told["error"]["message"]


def test_another_project_and_an_api_that_is_not_enabled_are_refused(ask: Ask, store: Store) -> None:
    told = ask("GET", "cloudresourcemanager", "/v1/projects/other", status=403)
    assert "no permission on project 'other'" in told["error"]["message"]
    store.delete("enabled-apis", "iam.googleapis.com")
    told = ask("GET", "iam", f"{HERE}/serviceAccounts", status=403)
    assert "gcloud services enable iam.googleapis.com" in told["error"]["message"]


@pytest.mark.parametrize(
    ("api", "rule", "query", "body", "name"),
    [
        ("artifactregistry", f"{HERE}/locations/r/repositories", "?repositoryId=a", {}, "a"),
        ("secretmanager", f"{HERE}/secrets", "?secretId=a", {}, "a"),
        ("iam", f"{HERE}/serviceAccounts", "", {"accountId": "writer"}, f"writer@{PROJECT}.iam"),
        ("storage", "/storage/v1/b", f"?project={PROJECT}", {"name": "a"}, "a"),
    ],
)
def test_a_thing_is_made_once_and_found_until_it_is_removed(
    ask: Ask, api: str, rule: str, query: str, body: Json, name: str
) -> None:
    one = f"{rule}/{name}{'.gserviceaccount.com' if api == 'iam' else ''}"
    ask("GET", api, one, status=404)
    ask("POST", api, rule + query, body)
    ask("POST", api, rule + query, body, status=409)
    ask("GET", api, one)
    assert any(ask("GET", api, rule).values())
    ask("DELETE", api, one, status=204 if api == "storage" else 200)
    ask("GET", api, one, status=404)


def test_a_new_member_of_the_project_must_exist(ask: Ask, store: Store) -> None:
    rule = f"{HERE}:setIamPolicy"
    for email, status in ((RUNNER, 200), (f"other@{PROJECT}.iam.gserviceaccount.com", 400)):
        binding = {"role": "roles/viewer", "members": [f"serviceAccount:{email}"]}
        policy = {"bindings": [*store.policy("project")["bindings"], binding]}
        ask("POST", "cloudresourcemanager", rule, {"policy": policy}, status)


def test_a_secret_is_read_by_whom_its_policy_names_until_it_is_removed(
    ask: Ask, store: Store
) -> None:
    ask("POST", "secretmanager", f"{HERE}/secrets?secretId=key", {})
    for data in ("b25l", "dHdv"):  # "one" and "two"
        rule = f"{HERE}/secrets/key:addVersion"
        ask("POST", "secretmanager", rule, {"payload": {"data": data}})
    with pytest.raises(ApiError, match="Permission denied on secret key"):
        secret_value(store, "key", "latest", RUNNER)
    reader = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{RUNNER}"]}
    policy = {"policy": {"bindings": [reader]}}
    ask("POST", "secretmanager", f"{HERE}/secrets/key:setIamPolicy", policy)
    assert [secret_value(store, "key", text, RUNNER) for text in ("1", "latest")] == ["one", "two"]
    ask("DELETE", "secretmanager", f"{HERE}/secrets/key")
    assert store.policy("secrets/key")["bindings"] == []
    with pytest.raises(ApiError, match="was not found"):
        secret_value(store, "key", "latest", RUNNER)


@pytest.mark.parametrize("quote", ["'", '"', ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_upload_is_kept_to_the_byte(quote: str, end: str) -> None:
    data = b"\r\n\x00--not the boundary\n\n"
    head = ["--==", "Content-Type: application/json", "", '{"name": "a"}', "--=="]
    head += ["Content-Type: application/gzip", "", ""]
    body = end.join(head).encode() + data + f"{end}--==--".encode()
    content_type = f"multipart/related; boundary={quote}=={quote}"
    assert parts(content_type, body) == ({"name": "a"}, data)


# --- Cloud Run -----------------------------------------------------------------------------------


def service(image: str, traffic: list[Json] | None = None, **spec: object) -> Json:
    container = {
        "image": image,
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
        "startupProbe": {"httpGet": {"path": "/ready"}, "periodSeconds": 0.05},
    }
    container["startupProbe"]["failureThreshold"] = 600  # type: ignore[index]
    template = {"containers": [container], "serviceAccountName": RUNNER, **spec}
    return {
        "metadata": {"name": "hello", "namespace": PROJECT},
        "spec": {"template": {"spec": template}, **({"traffic": traffic} if traffic else {})},
    }


@pytest.fixture
def settled(ask: Ask) -> Callable[..., Json]:
    """Return what applies a service and returns it once it is ready or has failed."""

    def apply(wanted: Json) -> Json:
        method, path = ("PUT", "/hello") if ask("GET", "r-run", SERVICES)["items"] else ("POST", "")
        ask(method, "r-run", SERVICES + path, wanted)
        wait_until(lambda: ready(ask("GET", "r-run", f"{SERVICES}/hello")) != "Unknown")
        found: Json = ask("GET", "r-run", f"{SERVICES}/hello")
        return found

    return apply


def ready(document: Json) -> str:
    statuses = {each["type"]: each["status"] for each in document["status"]["conditions"]}
    return str(statuses["Ready"])


def serving(document: Json) -> str:
    (name,) = (
        each["revisionName"] for each in document["status"]["traffic"] if each.get("percent")
    )
    return str(name)


def test_a_candidate_gets_no_traffic_until_it_is_told_to(settled: Callable[..., Json]) -> None:
    first = settled(service("one"))
    old = serving(first)
    assert (ready(first), first["metadata"]["labels"]) == (
        "True",
        {"cloud.googleapis.com/location": "r"},
    )
    held = [{"revisionName": old, "percent": 100}, {"revisionName": "new", "tag": "candidate"}]
    candidate = service("two", held)
    candidate["spec"]["template"]["metadata"] = {"name": "new"}  # as gcloud names it
    second = settled(candidate)
    assert (ready(second), serving(second)) == ("True", old)
    assert (
        second["status"]["url"] == first["status"]["url"] != second["status"]["traffic"][1]["url"]
    )
    third = settled(service("two", [{"latestRevision": True, "percent": 100}]))
    assert serving(third) == second["status"]["latestReadyRevisionName"] == "new"


def test_a_broken_revision_fails_its_own_deployment_but_not_the_way_back(
    settled: Callable[..., Json], ask: Ask, instances: list[Instance]
) -> None:
    old = serving(settled(service("one")))
    held = [{"revisionName": old, "percent": 100}, {"revisionName": "new", "tag": "candidate"}]
    broken = service("broken", held)
    broken["spec"]["template"]["metadata"] = {"name": "new"}
    failed = settled(broken)
    assert (ready(failed), serving(failed)) == ("False", old)
    (why,) = (each for each in failed["status"]["conditions"] if each["type"] == "Ready")
    assert "Container called exit(1)" in why["message"]
    assert "it is broken" in why["message"]
    back = settled(service("broken", [{"revisionName": old, "percent": 100}]))
    assert (ready(back), serving(back)) == ("True", old)
    gone = settled(service("broken", [{"revisionName": "hello-none", "percent": 100}]))
    assert (ready(gone), serving(gone)) == ("False", old)
    ask("DELETE", "r-run", f"{SERVICES}/hello")
    wait_until(lambda: not any(instance.runs for instance in instances))


def test_a_container_that_ends_is_started_again(
    settled: Callable[..., Json], instances: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.rehearsal.instance.RESTART_S", 0.01)
    settled(service("one"))
    instances[0]._process.kill()
    wait_until(lambda: len(instances) == 2)


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"serviceAccountName": "nobody"}, 403, "actAs' denied on service account nobody"),
        ({"traffic": [{"latestRevision": True, "percent": 50}]}, 501, "to one revision"),
        ({"memory": "8Gi"}, 400, "8Gi of memory is more than 1 CPU may have"),
        ({"startupProbe": None}, 501, "an HTTP startup probe"),
    ],
)
def test_a_service_that_cannot_be_is_refused(
    ask: Ask, change: Json, status: int, message: str
) -> None:
    account = {name: change[name] for name in change if name == "serviceAccountName"}
    wanted = service("one", change.get("traffic"), **account)
    container = wanted["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["limits"]["memory"] = change.get("memory", "512Mi")
    container["startupProbe"] = change.get("startupProbe", container["startupProbe"])
    told = ask("POST", "r-run", SERVICES, wanted, status)
    assert message in told["error"]["message"]


def test_limits_leave_no_swap_and_ask_for_no_more_cpus_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    container = {"resources": {"limits": {"cpu": "4", "memory": "2Gi"}}}
    assert limits_of(container) == ["--memory=2g", "--memory-swap=2g", "--cpus=2"]
