"""The stand-ins for Google's APIs, asked as gcloud asks them; containers are processes here."""

import io
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.exceptions import HTTPException

from tests.unit.waiting import wait_until
from tools.process import Process, free_port
from tools.rehearsal.cloud_run import container_of
from tools.rehearsal.cloudbuild import Builder, refuse_unknown, substituted
from tools.rehearsal.docker import limits_of
from tools.rehearsal.rehearsal import cloud
from tools.rehearsal.resources import id_token, may_enter, multipart, secret_value
from tools.rehearsal.web import Json, Store

PROJECT = "a-project"
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


def test_an_api_that_is_not_known_or_not_enabled_says_so(google: Google) -> None:
    unknown = ask(google, "GET", "pubsub", "/v1/things")
    assert unknown.endswith("does not answer GET pubsub.test/v1/things")
    disabled = ask(google, "GET", "iam", f"/v1/projects/{PROJECT}/things")
    assert disabled.endswith("Enable it with: gcloud services enable iam.googleapis.com")


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


def test_what_google_would_not_pass_on_is_refused(url: str) -> None:
    for path in ("/healthz", "/_ah/x", "/eventlog"):
        assert requests.get(url + path, timeout=30).status_code == 404
    assert requests.post(url, bytes(32 * 2**20 + 1), timeout=30).status_code == 413


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


# --- Cloud Build ---------------------------------------------------------------------------------

BUILDER = f"builder@{PROJECT}.iam.gserviceaccount.com"
IMAGE = f"a-registry/{PROJECT}/images/app:latest"
Run = Callable[..., Json]


def step(script: str, **fields: object) -> Json:
    return {"name": "docker", "entrypoint": "bash", "args": ["-c", script], **fields}


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
        account = f"projects/a-project/serviceAccounts/{BUILDER}"
        build = {"id": "b", "steps": numbered, "serviceAccount": account, **fields}
        return builder.run(build, archive.getvalue())

    return to_its_end


def test_a_step_waits_for_all_earlier_ones_unless_it_says(run: Run) -> None:
    first = step("until [ -e b ]; do sleep 0.01; done; touch a")
    at_once = step("touch b; until [ -e a ]; do sleep 0.01; done; touch c", waitFor=["-"])
    built = run(first, at_once, step("[ -e a ]", waitFor=["0"]), step("[ -e a ] && [ -e c ]"))
    assert built["status"] == "SUCCESS"


def test_a_step_sees_nothing_of_the_user_s_settings_but_docker_and_has_the_host_s_network(
    run: Run, builder: Builder
) -> None:
    run(step("echo [$SECRET_OF_THE_USER] $DOCKER_HOST"))
    assert "[] unix:///a/socket\n" in builder.log("b").read_text()
    run({"name": "gcr.io/cloud-builders/docker", "args": ["build", "--network=cloudbuild", "."]})
    built = "build --network=host . --cache-from=a-registry/a-project/imgserve/backend_v1\n"
    assert f"docker {built}" in builder.log("b").read_text()


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
    writer = {"role": "roles/artifactregistry.writer", "members": [f"serviceAccount:{BUILDER}"]}
    store.set_policy("repositories/images", {"bindings": [writer]})
    assert run(step("true"), images=[IMAGE])["status"] == "SUCCESS"
    assert f"docker push {IMAGE}\n" in builder.log("b").read_text()


def test_variables_are_filled_in_as_cloud_build_does() -> None:
    build = {"args": ["$_A-${_A}-$$_A", "${PROJECT_ID}:$BUILD_ID $(a)"]}
    given, builtin = {"_A": 'a "quote"'}, {"PROJECT_ID": PROJECT, "BUILD_ID": "id-1"}
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
