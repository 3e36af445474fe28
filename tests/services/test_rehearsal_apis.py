"""The stand-ins for Google's APIs, asked as gcloud asks them; containers are processes here."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.unit.waiting import wait_until
from tools.process import Process, free_port
from tools.rehearsal.cloud_run import container_of
from tools.rehearsal.cloudbuild import Builder
from tools.rehearsal.docker import limits_of
from tools.rehearsal.rehearsal import cloud
from tools.rehearsal.resources import id_token, may_enter, multipart, secret_value
from tools.rehearsal.web import Json, Store

PROJECT = "a-project"
HERE = f"/v1/projects/{PROJECT}"
RUNNER = f"runner@{PROJECT}.iam.gserviceaccount.com"
EVERYONE = {"role": "roles/run.invoker", "members": ["allUsers"]}
SERVICES = f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}/services"
PROBE = {"httpGet": {"path": "/ready"}, "periodSeconds": 0.1, "timeoutSeconds": 1}
PROBE |= {"failureThreshold": 300}


@dataclass
class Google:
    """The stand-ins, in which processes stand for containers."""

    folder: Path
    store: Store = field(default_factory=lambda: Store(PROJECT))
    port: int = field(default_factory=free_port)
    instances: list[Process] = field(default_factory=list)  # all that were started

    def launch(self, revision: Json, port: int) -> Process:
        image = container_of(revision)["image"]
        command = [sys.executable, "-m", "tests.services.stand_in", str(port), "--name", image]
        command += ["--exit", "1"] if image == "broken" else []
        self.instances.append(Process(command, self.folder / "run" / f"{port}.log"))
        return self.instances[-1]


@pytest.fixture
def store() -> Store:
    return Store(PROJECT)


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """Have stand-ins that know one account and have one API enabled."""
    made = Google(tmp_path_factory.mktemp("rehearsal"))
    made.store.put("accounts", RUNNER, {})
    made.store.put("enabled-apis", "run.googleapis.com", {})
    builder = Builder(made.folder / "builds", made.store, {"PATH": ""}, "a-registry", lambda: None)
    with cloud(made.folder, made.port, made.store, builder, made.launch):
        yield made


def ask(google: Google, method: str, api: str, path: str, body: Json | None = None) -> Any:
    """Return what an API answers: its JSON or, of an error, its message."""
    url, host = f"http://127.0.0.1:{google.port}{path}", {"Host": f"{api}.test"}
    answer = requests.request(method, url, json=body, headers=host, timeout=30)
    if answer.headers["Content-Type"] != "application/json":
        return answer.text
    return answer.json() if answer.ok else answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("pubsub", "does not answer GET pubsub.test/v1/projects/a-project/things"),
        ("iam", "Enable it with: gcloud services enable iam.googleapis.com"),
    ],
    ids=["is not known", "is not enabled"],
)
def test_a_request_of_an_api_that(google: Google, api: str, message: str) -> None:
    assert ask(google, "GET", api, f"{HERE}/things").endswith(message)


def test_a_secret_is_read_by_whom_its_policy_names_until_it_is_removed(store: Store) -> None:
    store.put("secret-values", "secrets/key", {"1": "one"})
    assert secret_value(store, "key", "1", RUNNER) is None
    reader = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{RUNNER}"]}
    store.set_policy("secrets/key", {"bindings": [reader]})
    assert secret_value(store, "key", "1", RUNNER) == "one"
    store.delete("secrets", "key")
    assert store.policy("secrets/key")["bindings"] == []
    assert secret_value(store, "key", "1", RUNNER) is None


def test_an_upload_is_kept_to_the_byte() -> None:
    data = b"\r\n\x00--not the boundary\n\n"
    head = b'--==\nContent-Type: application/json\n\n{"name": "a"}\n--==\nContent-Type: x/y\n\n'
    body = head + data + b"\n--==--"
    assert multipart("multipart/related; boundary='=='", body) == ({"name": "a"}, data)


def test_the_metadata_server_tells_a_container_who_it_is(google: Google) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https://a"
    token = ask(google, "GET", "runner.metadata", path)
    assert (claims := google.store.get("id-tokens", token))
    assert (claims["aud"], claims["email"]) == ("https://a", RUNNER)


def test_limits_leave_no_swap_and_ask_for_no_more_cpus_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    container = {"resources": {"limits": {"cpu": "4", "memory": "2Gi"}}}
    assert limits_of(container) == ["--memory=2g", "--memory-swap=2g", "--cpus=2"]


def test_a_log_is_that_of_the_build_that_is_asked_for(google: Google) -> None:
    (google.folder / "builds" / "id-1.log").write_text("one\ntwo\n")
    wanted = {"filter": 'logName="a" AND resource.labels.build_id="id-1"', "orderBy": "time desc"}
    found = ask(google, "POST", "logging", "/v2/entries:list", wanted)
    assert [entry["textPayload"] for entry in found["entries"]] == ["two", "one"]


# --- Cloud Run -----------------------------------------------------------------------------------


def apply(
    google: Google, name: str, image: str, *traffic: Json, new: str = "", by: str = RUNNER
) -> Any:
    """Make or change a service that everybody may call; return what is answered."""
    google.store.set_policy(f"services/{name}", {"bindings": [EVERYONE]})
    container = {"image": image, "startupProbe": PROBE}
    template = {"spec": {"containers": [container], "serviceAccountName": by}}
    template["metadata"] = {"name": new} if new else {}
    wanted = {"metadata": {"name": name}, "spec": {"template": template, "traffic": traffic}}
    method, path = ("PUT", f"/{name}") if google.store.get("services", name) else ("POST", "")
    return ask(google, method, "r-run", SERVICES + path, wanted)


def ready(document: Json) -> str:
    return next(str(one["status"]) for one in document["status"]["conditions"])


def serving(document: Json) -> str:
    (name,) = (one["revisionName"] for one in document["status"]["traffic"] if one.get("percent"))
    return str(name)


def test_a_broken_revision_fails_its_own_deployment_but_not_the_way_back(
    google: Google,
) -> None:
    old = serving(first := apply(google, "steps", "one"))
    good = serving(apply(google, "steps", "two"))
    assert good == serving(apply(google, "steps", "two")) != old
    wait_until(google.instances[-2].has_ended)  # without traffic and tag it is ended
    held = {"revisionName": good, "percent": 100}, {"revisionName": "new", "tag": "candidate"}
    failed = apply(google, "steps", "broken", *held, new="new")
    assert (ready(failed), serving(failed)) == ("False", good)
    why = failed["status"]["conditions"][0]["message"]
    assert "ended by itself with exit status 1" in why
    assert "last words" in why
    assert ready(apply(google, "steps", "broken", *held)) == "False"  # its tag alone is enough
    gone = apply(google, "steps", "broken", {"revisionName": "steps-none", "percent": 100})
    assert (ready(gone), serving(gone)) == ("False", good)
    back = apply(google, "steps", "broken", {"revisionName": old, "percent": 100})
    assert (ready(back), serving(back)) == ("True", old)
    assert "one / " in requests.get(first["status"]["url"], timeout=30).text
    ask(google, "DELETE", "r-run", f"{SERVICES}/steps")
    wait_until(lambda: all(instance.has_ended() for instance in google.instances))


def test_a_service_of_an_account_that_is_not_there_is_refused(google: Google) -> None:
    told = apply(google, "nobodys", "one", by="nobody")
    assert "actAs' denied on service account nobody" in told


# --- the addresses of services -------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(google: Google) -> str:
    """Return the address of a service that everybody may call."""
    return str(apply(google, "hello", "one")["status"]["url"])


def test_a_request_arrives_whole_and_says_who_asked(url: str) -> None:
    asked = {"X-Forwarded-For": "192.0.2.1"}
    got = requests.post(f"{url}/a?b=c", bytes(3_000_000), headers=asked, timeout=30)
    assert "one /a?b=c 3000000\n" in got.text
    assert "X-Forwarded-For: 192.0.2.1, 127.0.0.1\n" in got.text
    assert "X-Forwarded-Proto: http\n" in got.text
    assert "X-Cloud-Trace-Context: " in got.text
    assert f"Host: {url.removeprefix('http://')}\n" in got.text


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/healthz", 0, 404),  # what Google would not pass on
        ("/_ah/x", 0, 404),
        ("/eventlog", 0, 404),
        ("/", 32 * 2**20 + 1, 413),
    ],
)
def test_what_google_would_not_pass_on_is_refused(
    url: str, path: str, size: int, status: int
) -> None:
    assert requests.post(url + path, bytes(size), timeout=30).status_code == status


def test_whom_a_service_keeps_out_is_answered_even_with_a_large_body(
    url: str, google: Google
) -> None:
    google.store.set_policy("services/hello", {})
    assert requests.post(url, bytes(1_000_000), timeout=30).status_code == 403
    google.store.set_policy("services/hello", {"bindings": [EVERYONE]})


def test_a_token_of_somebody_invited_opens_its_own_service_alone(store: Store) -> None:
    url = "http://127.0.0.1:1"
    store.put("services", "hello", {"status": {"url": url}})
    mine = f"Bearer {id_token(store, RUNNER, url)}"
    assert not may_enter(store, "hello", mine)
    invited = {"role": "roles/run.invoker", "members": [f"serviceAccount:{RUNNER}"]}
    store.set_policy("services/hello", {"bindings": [invited]})
    assert may_enter(store, "hello", mine)
    for wrong in (id_token(store, RUNNER, "https://b"), f"{mine[7:]}x", "é.é.é"):
        assert not may_enter(store, "hello", f"Bearer {wrong}")


def test_who_was_let_in_or_kept_out_just_now_finds_it_as_before(store: Store) -> None:
    store.policy_s = 0.3
    for bindings, before, after in (([EVERYONE], False, True), ([], True, False)):
        store.set_policy("services/hello", {"bindings": bindings})
        assert store.policy("services/hello")["bindings"] == bindings
        assert may_enter(store, "hello", "") == before
        time.sleep(0.4)
        assert may_enter(store, "hello", "") == after
