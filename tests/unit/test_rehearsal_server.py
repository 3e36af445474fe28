"""The APIs of the rehearsal's server, asked as gcloud asks them."""

import base64
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tools.rehearsal.apis.oauth import id_token, operator_key, server_key
from tools.rehearsal.apis.secretmanager import may_read, secret_value
from tools.rehearsal.builds.log import BuildLog
from tools.rehearsal.gcloud import gcloud_environ
from tools.rehearsal.keys import base64url, sign
from tools.rehearsal.projects import add_project, project_number
from tools.rehearsal.server import create_app
from tools.rehearsal.state import NAME, State

PROJECT = "a-project"
APIS = ("artifactregistry", "cloudbuild", "iam", "run", "secretmanager")
ACCOUNT = f"builder@{PROJECT}.iam.gserviceaccount.com"
PROJECTS = f"http://cloudresourcemanager.test/v1/projects/{PROJECT}"
SERVICES = f"http://serviceusage.test/v1/projects/{PROJECT}/services"
REPOSITORIES = f"http://artifactregistry.test/v1/projects/{PROJECT}/locations/here/repositories"
SECRETS = f"http://secretmanager.test/v1/projects/{PROJECT}/secrets"
ACCOUNTS = f"http://iam.test/v1/projects/{PROJECT}/serviceAccounts"
BUILDS = f"http://cloudbuild.test/v1/projects/{PROJECT}/locations/here/builds"
BUCKETS = "http://storage.test/storage/v1/b"
UPLOADS = "http://storage.test/upload/storage/v1/b/bucket/o"
BUILD = "01234567-89ab-cdef-0123-456789abcdef"

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the server's keys: making them takes a second."""
    folder = tmp_path_factory.mktemp("keys")
    operator_key(folder)
    server_key(folder)
    return folder / "keys"


@pytest.fixture
def app(tmp_path: Path, keys: Path) -> Iterator[Flask]:
    """Return a server with one project that has every API enabled."""
    shutil.copytree(keys, tmp_path / "keys")
    made = create_app(tmp_path, {})
    state: State = made.extensions[NAME]
    add_project(state.store, PROJECT)
    state.store.put("services", PROJECT, {"enabled": [f"{api}.googleapis.com" for api in APIS]})
    yield made
    state.runner.stop()


@pytest.fixture
def state(app: Flask) -> State:
    found: State = app.extensions[NAME]
    return found


@pytest.fixture
def ask(app: Flask) -> Ask:
    """Return what sends a request and returns the answer's status and JSON."""

    def send(method: str, url: str, content: Any = None, **options: Any) -> tuple[int, Any]:
        with app.test_client() as client:
            answer = client.open(url, method=method, json=content, **options)
            return answer.status_code, answer.get_json(silent=True)

    return send


@pytest.fixture
def bucket(ask: Ask) -> str:
    """Return the address of a bucket."""
    ask("POST", f"{BUCKETS}?project={PROJECT}", {"name": "bucket", "location": "us-east1"})
    return f"{BUCKETS}/bucket"


def test_unknown_request_is_named_and_logged(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        status, answer = ask("PUT", "http://storage.test/storage/v2/nothing")
    message = "The rehearsal has no such part: PUT storage.test/storage/v2/nothing"
    assert status == 501
    assert answer["error"] == {"code": 501, "message": message, "status": "UNIMPLEMENTED"}
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [message]


@pytest.mark.parametrize("host", ["pubsub.test", "127.0.0.1:8080", "evil.example"])
def test_unknown_host_is_unimplemented(host: str, ask: Ask) -> None:
    assert ask("GET", f"http://{host}/v1/projects/{PROJECT}/topics")[0] == 501


def test_host_of_a_region_is_that_api(ask: Ask) -> None:
    url = REPOSITORIES.replace("artifactregistry", "us-east1-artifactregistry")
    assert ask("GET", url) == (200, {"repositories": []})


def test_project_that_is_not_there_is_forbidden(ask: Ask) -> None:
    assert ask("GET", PROJECTS)[1]["projectNumber"] == project_number(PROJECT)
    assert ask("GET", PROJECTS.replace(PROJECT, "other"))[0] == 403


def test_api_answers_once_it_is_enabled(ask: Ask, state: State) -> None:
    state.store.put("services", PROJECT, {"enabled": []})
    status, answer = ask("GET", f"{SECRETS}/key")
    assert status == 403
    assert answer["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
    assert "gcloud services enable secretmanager.googleapis.com" in answer["error"]["message"]
    names = ["secretmanager.googleapis.com", "run.googleapis.com"]
    assert ask("POST", f"{SERVICES}:batchEnable", {"serviceIds": names})[1]["done"]
    assert ask("GET", f"{SECRETS}/key")[0] == 404
    listed = ask("GET", f"{SERVICES}?filter=state:ENABLED")[1]["services"]
    assert [each["config"]["name"] for each in listed] == sorted(names)


@pytest.mark.parametrize(
    ("collection", "query", "content", "name"),
    [
        (REPOSITORIES, "?repositoryId=images", {"format": "DOCKER"}, "images"),
        (SECRETS, "?secretId=key", {"replication": {"automatic": {}}}, "key"),
        (ACCOUNTS, "", {"accountId": "builder"}, ACCOUNT),
        (BUCKETS, f"?project={PROJECT}", {"name": "bucket"}, "bucket"),
    ],
)
def test_thing_is_made_once_found_and_removed(
    collection: str, query: str, content: dict[str, Any], name: str, ask: Ask
) -> None:
    assert ask("GET", f"{collection}/{name}")[0] == 404
    assert ask("POST", collection + query, content)[0] == 200
    assert ask("POST", collection + query, content)[0] == 409
    assert ask("GET", f"{collection}/{name}")[0] == 200
    assert ask("DELETE", f"{collection}/{name}")[0] in {200, 204}
    assert ask("GET", f"{collection}/{name}")[0] == 404
    assert ask("DELETE", f"{collection}/{name}")[0] == 404


def test_policy_is_kept_and_a_stale_one_refused(ask: Ask) -> None:
    ask("POST", f"{SECRETS}?secretId=key", {})
    policy = ask("GET", f"{SECRETS}/key:getIamPolicy")[1]
    assert base64.b64decode(policy["etag"])
    binding = {"role": "roles/viewer", "members": ["user:a@b.c"]}
    changed = {"etag": policy["etag"], "bindings": [binding]}
    assert ask("POST", f"{SECRETS}/key:setIamPolicy", {"policy": changed})[0] == 200
    assert ask("GET", f"{SECRETS}/key:getIamPolicy")[1]["bindings"] == [binding]
    status, answer = ask("POST", f"{SECRETS}/key:setIamPolicy", {"policy": changed})
    assert (status, answer["error"]["status"]) == (409, "ABORTED")


def test_policy_goes_with_its_thing(ask: Ask) -> None:
    binding = {"role": "roles/viewer", "members": ["user:a@b.c"]}
    ask("POST", f"{SECRETS}?secretId=key", {})
    ask("POST", f"{SECRETS}/key:setIamPolicy", {"policy": {"bindings": [binding]}})
    ask("DELETE", f"{SECRETS}/key")
    ask("POST", f"{SECRETS}?secretId=key", {})
    assert ask("GET", f"{SECRETS}/key:getIamPolicy")[1]["bindings"] == []


def test_new_member_of_the_project_must_exist(ask: Ask) -> None:
    binding = {"role": "roles/viewer", "members": [f"serviceAccount:{ACCOUNT}"]}
    status, answer = ask("POST", f"{PROJECTS}:setIamPolicy", {"policy": {"bindings": [binding]}})
    message = f"Service account {ACCOUNT} does not exist."
    assert (status, answer["error"]["message"]) == (400, message)
    ask("POST", ACCOUNTS, {"accountId": "builder"})
    assert ask("POST", f"{PROJECTS}:setIamPolicy", {"policy": {"bindings": [binding]}})[0] == 200


@pytest.mark.parametrize("name", ["short", "Capital", "x" * 31, "ends-in-", ""])
def test_account_names_have_googles_form(name: str, ask: Ask) -> None:
    assert ask("POST", ACCOUNTS, {"accountId": name})[0] == 400


def test_newest_version_of_a_secret_is_its_value(ask: Ask, state: State) -> None:
    ask("POST", f"{SECRETS}?secretId=key", {})
    assert ask("GET", f"{SECRETS}/key/versions/latest:access")[0] == 404
    for value in (b"one", b"\xff\xfe>"):
        data = base64.urlsafe_b64encode(value).decode()  # the alphabet of gcloud
        ask("POST", f"{SECRETS}/key:addVersion", {"payload": {"data": data}})
    assert secret_value(state.store, PROJECT, "key", "latest") == b"\xff\xfe>"
    assert secret_value(state.store, PROJECT, "key", "1") == b"one"
    assert ask("GET", f"{SECRETS}/key/versions/3:access")[0] == 404
    names = [each["name"] for each in ask("GET", f"{SECRETS}/key/versions")[1]["versions"]]
    assert [name.rpartition("/")[2] for name in names] == ["2", "1"]


@pytest.mark.parametrize("size", [0, 65537])
def test_secret_of_a_wrong_size_is_refused(size: int, ask: Ask) -> None:
    ask("POST", f"{SECRETS}?secretId=key", {})
    payload = {"data": base64.b64encode(b"x" * size).decode()}
    assert ask("POST", f"{SECRETS}/key:addVersion", {"payload": payload})[0] == 400


def test_secret_is_read_by_whom_its_policy_names(ask: Ask, state: State) -> None:
    ask("POST", f"{SECRETS}?secretId=key", {})
    assert not may_read(state.store, PROJECT, "key", ACCOUNT)
    reader = "roles/secretmanager.secretAccessor"
    binding = {"role": reader, "members": [f"serviceAccount:{ACCOUNT}"]}
    ask("POST", f"{SECRETS}/key:setIamPolicy", {"policy": {"bindings": [binding]}})
    assert may_read(state.store, PROJECT, "key", ACCOUNT)


@pytest.mark.parametrize("quote", ["'", '"', ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_object_sent_whole_is_kept_to_the_byte(
    quote: str, end: str, ask: Ask, app: Flask, bucket: str
) -> None:
    data = b"\x1f\x8b\r\n--almost==\n\n\x00"
    head = f"--a==1=={end}content-type: application/json{end}{end}"
    middle = f'{{"name": "folder/x y"}}{end}--a==1=={end}Content-Type: text/x{end}{end}'
    content = f"{head}{middle}".encode() + data + f"{end}--a==1==--".encode()
    kind = f"multipart/related; boundary={quote}a==1=={quote}"
    status, made = ask("POST", f"{UPLOADS}?uploadType=multipart", data=content, content_type=kind)
    assert (status, made["size"], made["contentType"]) == (200, str(len(data)), "text/x")
    assert base64.b64decode(made["md5Hash"])
    with app.test_client() as client:
        assert client.get(f"{bucket}/o/folder%2Fx%20y?alt=media", buffered=True).data == data


def test_object_sent_in_pieces_is_put_together(app: Flask, bucket: str) -> None:
    data = bytes(range(256)) * 4
    with app.test_client() as client:
        begun = client.post(f"{UPLOADS}?uploadType=resumable", json={"name": "big"})
        session = begun.headers["Location"]
        first = {"Content-Range": "bytes 0-599/*"}
        answer = client.put(session, data=data[:600], headers=first)
        assert (answer.status_code, answer.headers["Range"]) == (308, "bytes=0-599")
        asked = client.put(session, headers={"Content-Range": "bytes */1024"})
        assert (asked.status_code, asked.headers["Range"]) == (308, "bytes=0-599")
        last = {"Content-Range": "bytes 600-1023/1024"}
        assert client.put(session, data=data[600:], headers=last).get_json()["size"] == "1024"
        assert client.get(f"{bucket}/o/big?alt=media", buffered=True).data == data
        assert client.put(session, data=b"", headers=last).status_code == 404


def put_object(ask: Ask, name: str) -> None:
    """Keep a small object in the bucket."""
    content = f'--b\na: b\n\n{{"name": "{name}"}}\n--b\na: b\n\nx\n--b--'.encode()
    kind = "multipart/related; boundary=b"
    ask("POST", f"{UPLOADS}?uploadType=multipart", data=content, content_type=kind)


def test_objects_are_listed_by_prefix_and_folder(ask: Ask, bucket: str) -> None:
    for name in ("a/1", "a/2", "b"):
        put_object(ask, name)
    listed = ask("GET", f"{bucket}/o?delimiter=/")[1]
    assert [each["name"] for each in listed["items"]] == ["b"]
    assert listed["prefixes"] == ["a/"]
    listed = ask("GET", f"{bucket}/o?prefix=a/")[1]
    assert [each["name"] for each in listed["items"]] == ["a/1", "a/2"]


def test_bucket_with_an_object_is_not_removed(ask: Ask, bucket: str) -> None:
    put_object(ask, "a")
    assert ask("DELETE", bucket)[0] == 409
    assert ask("DELETE", f"{bucket}/o/a")[0] == 204
    assert ask("DELETE", f"{bucket}/o/a")[0] == 404
    assert ask("DELETE", bucket)[0] == 204


def refusal(ask: Ask, **fields: Any) -> str:
    """Return why a build with these fields is refused."""
    steps = [{"name": "docker", "args": ["version"]}]
    status, answer = ask("POST", BUILDS, {"steps": steps, **fields})
    assert status in {400, 404}
    return str(answer["error"]["message"])


def test_build_without_its_source_is_refused(ask: Ask) -> None:
    source = {"storageSource": {"bucket": "bucket", "object": "gone.tgz"}}
    assert "No such object: bucket/gone.tgz" in refusal(ask, source=source)


def test_build_of_an_unknown_account_is_refused(ask: Ask) -> None:
    account = f"projects/{PROJECT}/serviceAccounts/{ACCOUNT}"
    logging_only = {"logging": "CLOUD_LOGGING_ONLY"}
    assert "was not found" in refusal(ask, serviceAccount=account, options=logging_only)


def test_build_needs_an_account_that_may_read_its_source(ask: Ask, bucket: str) -> None:
    ask("POST", ACCOUNTS, {"accountId": "builder"})
    put_object(ask, "source.tgz")
    build = {
        "source": {"storageSource": {"bucket": "bucket", "object": "source.tgz"}},
        "serviceAccount": f"projects/$PROJECT_ID/serviceAccounts/{ACCOUNT}",
        "options": {"logging": "CLOUD_LOGGING_ONLY"},
    }
    assert "does not have storage.objects.get access" in refusal(ask, **build)
    viewer = {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{ACCOUNT}"]}
    ask("PUT", f"{bucket}/iam", {"bindings": [viewer]})
    assert ask("POST", BUILDS, {"steps": [{"name": "docker"}], **build})[0] == 200


def test_builds_are_listed_by_status_and_unknown_filters_refused(ask: Ask, state: State) -> None:
    for name, status in (("a", "SUCCESS"), ("b", "FAILURE")):
        where = f"projects/{project_number(PROJECT)}/locations/here/builds/{name}"
        state.store.put("builds", name, {"name": where, "status": status, "createTime": name})
    assert [each["name"][-1] for each in ask("GET", BUILDS)[1]["builds"]] == ["b", "a"]
    listed = ask("GET", f'{BUILDS}?filter=status="SUCCESS"')[1]["builds"]
    assert [each["name"][-1] for each in listed] == ["a"]
    assert ask("GET", f"{BUILDS}?filter=tags=x")[0] == 501
    assert ask("POST", f"{BUILDS}/a:cancel")[0] == 400


def test_log_of_a_build_is_read_page_by_page(ask: Ask, state: State) -> None:
    path = state.runner.machine.log_path(BUILD)
    path.parent.mkdir(parents=True)
    BuildLog(path).write("one", "two", "three")
    asked = {"filter": f'resource.labels.build_id="{BUILD}"', "pageSize": 2}
    url = "http://logging.test/v2/entries:list"
    page = ask("POST", url, asked)[1]
    assert [each["textPayload"] for each in page["entries"]] == ["one", "two"]
    last = ask("POST", url, {**asked, "pageToken": page["nextPageToken"]})[1]
    assert [each["textPayload"] for each in last["entries"]] == ["three"]
    assert "nextPageToken" not in last
    newest = ask("POST", url, {**asked, "orderBy": "timestamp desc"})[1]
    assert newest["entries"][0]["textPayload"] == "three"


def test_log_of_a_build_is_a_file_in_its_logs_bucket(app: Flask, state: State) -> None:
    url = f"http://storage.googleapis.com/logs/log-{BUILD}.txt"
    path = state.runner.machine.log_path(BUILD)
    path.parent.mkdir(parents=True)
    state.store.put("builds", BUILD, {"logsBucket": "gs://logs"})
    with app.test_client() as client:
        assert client.get(url).status_code == 404
        BuildLog(path).write("one", "two")
        assert client.get(url, headers={"Range": "bytes=0-"}).data == b"one\ntwo\n"
        assert client.get(url, headers={"Range": "bytes=4-"}).data == b"two\n"
        assert client.get(url, headers={"Range": "bytes=8-"}).status_code == 416
        page = client.get(f"http://127.0.0.1/builds/{BUILD}")
        assert (page.data, page.mimetype) == (b"one\ntwo\n", "text/plain")
        assert client.get("http://127.0.0.1/builds/other").status_code == 404


def assertion(folder: Path, **claims: Any) -> str:
    """Return a request for a token, signed with gcloud's key."""
    parts = [{"alg": "RS256"}, {"iss": ACCOUNT, "exp": time.time() + 60, **claims}]
    signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{base64url(sign(operator_key(folder), signed.encode()))}"


def test_service_account_gets_tokens_that_can_be_checked(ask: Ask, tmp_path: Path) -> None:
    url = "http://oauth2.test/token"
    asked = {"assertion": assertion(tmp_path)}
    assert ask("POST", url, data=asked)[1]["access_token"]
    asked = {"assertion": assertion(tmp_path, target_audience="https://a.run.app")}
    token = ask("POST", url, data=asked)[1]["id_token"]
    status, claims = ask("GET", f"http://oauth2.test/tokeninfo?id_token={token}")
    assert (status, claims["email"], claims["aud"]) == (200, ACCOUNT, "https://a.run.app")


@pytest.mark.parametrize("damage", ["x", "", "a.b.c", "e30.e30.e30", "é.é.é"])
def test_forged_requests_for_tokens_are_refused(damage: str, ask: Ask) -> None:
    assert ask("POST", "http://oauth2.test/token", data={"assertion": damage})[0] == 400
    assert ask("GET", f"http://oauth2.test/tokeninfo?id_token={damage}")[0] == 400


def test_token_of_another_key_or_time_is_refused(ask: Ask, tmp_path: Path) -> None:
    forged = assertion(tmp_path)  # by gcloud's key, not the server's
    assert ask("GET", f"http://oauth2.test/tokeninfo?id_token={forged}")[0] == 400
    over = assertion(tmp_path, exp=time.time() - 1)
    assert ask("POST", "http://oauth2.test/token", data={"assertion": over})[0] == 400
    good = id_token(tmp_path, ACCOUNT, "x")
    assert ask("GET", f"http://oauth2.test/tokeninfo?id_token={good}")[0] == 200
    changed = f"{good[:-6]}AAAAAA"
    assert ask("GET", f"http://oauth2.test/tokeninfo?id_token={changed}")[0] == 400


def test_gclouds_environment_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Path
) -> None:
    shutil.copytree(keys, tmp_path / "keys")
    (tmp_path / "gcloud").mkdir()
    (tmp_path / "gcloud" / "activated").touch()  # no gcloud is needed to look at the variables
    monkeypatch.setenv("CLOUDSDK_CORE_ACCOUNT", "somebody@example.com")
    environ = gcloud_environ(tmp_path, 8123, PROJECT)
    assert "CLOUDSDK_CORE_ACCOUNT" not in environ
    assert environ["CLOUDSDK_CONFIG"] == str(tmp_path / "gcloud")
    assert environ["CLOUDSDK_PROXY_PORT"] == "8123"
    overrides = [value for name, value in environ.items() if "ENDPOINT_OVERRIDES" in name]
    assert len(overrides) >= 10
    assert all(value.startswith("http://") and ".test/" in value for value in overrides)
