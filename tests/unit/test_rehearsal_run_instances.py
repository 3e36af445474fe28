"""Cloud Run's containers and their door: what they are given, asked, and who may come in."""

import http.server
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from tools.rehearsal.apis.oauth import id_token
from tools.rehearsal.policies import set_policy
from tools.rehearsal.run import revisions, services
from tools.rehearsal.run.configuration import Door, Office, Share, configuration
from tools.rehearsal.run.gate import GCLOUD_AUDIENCE, decision, is_private
from tools.rehearsal.run.inside import inside_app
from tools.rehearsal.run.instance import SecretRefused, Start, arguments, start
from tools.rehearsal.run.place import Place
from tools.rehearsal.run.ports import NoPortFree, Ports
from tools.rehearsal.run.probes import Probe
from tools.rehearsal.store import Store

PLACE = Place("a-project", "a-region")
ACCOUNT = "somebody@elsewhere.iam.gserviceaccount.com"
KEY = PLACE.key("hello")
URL = "http://127.0.0.1:20001"
Document = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(tmp_path / "documents")


def revision_of(store: Store, **container: Any) -> Document:
    """Return the revision of a new service."""
    spec = {"containers": [{"image": "i", **container}], "serviceAccountName": ACCOUNT}
    asked = {"metadata": {"name": "hello"}, "spec": {"template": {"spec": spec}}}
    name = services.create(store, PLACE, asked)["status"]["latestCreatedRevisionName"]
    document = store.get(revisions.KIND, PLACE.key(name))
    assert document is not None
    return document


def how(store: Store, environ: Mapping[str, str] | None = None, **container: Any) -> Start:
    """Return how a container with this spec is started on port 20000."""
    return start(store, revision_of(store, **container), 20000, 20009, environ or {})


def test_container_is_given_its_own_port_on_loopback(store: Store) -> None:
    options = how(store).options
    assert "--env=PORT=20000" in options
    assert "--env=HOST=127.0.0.1" in options
    assert "--env=GCE_METADATA_HOST=127.0.0.1:20009" in options


def test_variables_of_the_contract_cannot_be_overridden(store: Store) -> None:
    options = how(store, env=[{"name": "HOST", "value": "0.0.0.0"}]).options
    assert [each for each in options if "HOST=" in each and "GCE" not in each] == [
        "--env=HOST=127.0.0.1"
    ]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ["--network", "host"]),
        ("--network host", ["--network", "host"]),
        ("--net=host --init", ["--net=host", "--init"]),
        ("--init", ["--init", "--network", "host"]),
    ],
)
def test_containers_share_the_hosts_network(store: Store, flags: str, expected: list[str]) -> None:
    options = how(store, {"REHEARSAL_DOCKER_FLAGS": flags}).options
    assert options[: options.index("--log-driver")] == expected


def test_limits_leave_no_swap_and_can_be_left_out(store: Store) -> None:
    begun = how(store, resources={"limits": {"memory": "1Gi", "cpu": "500m"}})
    assert "--memory=1073741824" in begun.options
    assert "--memory-swap=1073741824" in begun.options
    assert "--cpus=0.5" in begun.options
    left = begun.without_limits().options
    assert not [each for each in left if each.startswith(("--memory", "--cpus"))]
    assert "--env=PORT=20000" in left


def test_no_more_cpus_are_asked_for_than_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    limits = {"memory": "1Gi", "cpu": "4"}
    assert "--cpus=2" in how(store, resources={"limits": limits}).options


def test_command_replaces_the_entry_point(store: Store) -> None:
    container: Document = {"command": ["sh", "-c"], "args": ["true"]}
    assert how(store, **container).options[-1] == "--entrypoint=sh"
    assert arguments(container) == ["-c", "true"]


def _keep_secret(store: Store, *, readable: bool) -> None:
    name = "projects/a-project/secrets/s"
    versions = [{"payload": {"data": "b25l"}}, {"payload": {"data": "dHdv"}}]
    store.put("secrets", name, {"secret": {}, "versions": versions})
    role = "roles/secretmanager.secretAccessor"
    binding = {"role": role, "members": [f"serviceAccount:{ACCOUNT}"]}
    set_policy(store, name, {"bindings": [binding] if readable else []})


def _secret(version: str) -> list[Document]:
    return [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": version}}}]


@pytest.mark.parametrize(("version", "value"), [("latest", "two"), ("1", "one")])
def test_secret_arrives_beside_the_options(store: Store, version: str, value: str) -> None:
    _keep_secret(store, readable=True)
    begun = how(store, env=_secret(version))
    assert begun.secrets == {"S": value}
    assert "--env=S" in begun.options


def test_secret_that_the_account_may_not_read_is_refused(store: Store) -> None:
    _keep_secret(store, readable=False)
    with pytest.raises(SecretRefused, match=f"Permission denied .* {ACCOUNT}"):
        how(store, env=_secret("latest"))


@pytest.mark.parametrize("version", ["3", "none"])
def test_secret_version_that_is_not_there_is_named(store: Store, version: str) -> None:
    _keep_secret(store, readable=True)
    with pytest.raises(SecretRefused, match=f"s/versions/{version} was not found"):
        how(store, env=_secret(version))


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers the status that the path says."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a server that answers the status in the path."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def probe(document: Document, port: int) -> Probe:
    """Return a probe of a container whose port 8000 is `port` here."""
    times = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 2}
    return Probe.of({**times, "failureThreshold": 3, **document}, 8000, port)


@pytest.mark.parametrize(
    ("path", "answer"), [("/200", ""), ("/302", ""), ("/404", "status 404"), ("/503", "status 503")]
)
def test_http_probe_goes_by_the_status(port: int, path: str, answer: str) -> None:
    assert probe({"httpGet": {"path": path, "port": 8000}}, port).ask() == answer


def test_tcp_probe_is_content_with_a_connection(port: int) -> None:
    assert probe({"tcpSocket": {"port": 8000}}, port).ask() == ""


def test_probe_of_a_closed_port_says_so(store: Store) -> None:
    closed = Ports(store).lend()
    assert "ConnectionRefused" in probe({"tcpSocket": {"port": 8000}}, closed).ask()


def test_probe_of_another_port_than_the_containers_stays_there(port: int) -> None:
    assert probe({"tcpSocket": {"port": 9000}}, port).port == 9000


def test_cloud_runs_own_probe_tries_often_for_four_minutes(store: Store) -> None:
    container = revision_of(store)["spec"]["containers"][0]
    own = Probe.of(container["startupProbe"], 8080, 1)
    assert own.is_default
    assert own.waits_s * own.allows == 240


def test_ports_are_kept_by_purpose_and_lent_once(store: Store) -> None:
    ports = Ports(store)
    kept = ports.kept("a")
    assert Ports(store).kept("a") == kept
    assert len({kept, ports.kept("b"), ports.lend(), ports.lend()}) == 4
    ports.forget("a")
    assert store.get("run-ports", "a") is None


def test_no_free_port_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.rehearsal.run.ports._is_free", lambda _: False)
    with pytest.raises(NoPortFree):
        Ports(store).lend()


def _door(*shares: Share, private: bool = False, sticky: bool = False) -> str:
    door = Door(KEY, 20001, shares, private, sticky, timeout_s=77)
    return configuration(Path("/f"), 20002, 20003, [door], [Office(20004, "p/r/e")])


def test_last_share_gets_what_rounding_leaves() -> None:
    text = _door(Share(20005, 30), Share(20006, 70))
    assert "split_clients $request_id $revision_0 {" in text
    assert "30% 127.0.0.1:20005;\n        * 127.0.0.1:20006;" in text
    assert "proxy_read_timeout 77s;" in text


def test_door_without_a_revision_answers_503() -> None:
    assert "location / { return 503" in _door()


def test_sticky_door_splits_by_the_session() -> None:
    text = _door(Share(20005, 100), sticky=True)
    assert "split_clients $session" in text
    assert "add_header Set-Cookie $new_session;" in text


def test_only_a_private_door_asks_who_is_calling() -> None:
    assert "auth_request" not in _door(Share(20005, 100))
    assert f"/gate/{KEY};" in _door(Share(20005, 100), private=True)


def test_every_address_of_the_router_is_loopback() -> None:
    listens = [line for line in _door(Share(1, 100)).splitlines() if "listen" in line]
    assert len(listens) == 3
    assert all("listen 127.0.0.1:" in line for line in listens)


def _invite(store: Store, *members: str) -> None:
    bindings = [{"role": "roles/run.invoker", "members": list(members)}]
    set_policy(store, services.resource(PLACE, "hello"), {"bindings": bindings})


def test_service_is_private_until_everybody_is_invited(store: Store) -> None:
    assert is_private(store, KEY)
    _invite(store, "allUsers")
    assert not is_private(store, KEY)


@pytest.mark.parametrize(
    ("header", "audience", "status"),
    [
        ("Authorization", URL, 200),
        ("X-Serverless-Authorization", URL, 200),
        ("Authorization", GCLOUD_AUDIENCE, 200),
        ("Authorization", "http://another", 401),
        ("Cookie", URL, 403),
    ],
)
def test_gate_asks_for_a_token_of_this_service(
    store: Store, header: str, audience: str, status: int
) -> None:
    _invite(store, f"serviceAccount:{ACCOUNT}")
    token = id_token(store.folder.parent, ACCOUNT, audience)
    assert decision(store, KEY, Headers({header: f"Bearer {token}"}), [URL]) == status


def test_gate_refuses_a_good_token_of_somebody_not_invited(store: Store) -> None:
    _invite(store, "serviceAccount:another@elsewhere")
    token = id_token(store.folder.parent, ACCOUNT, URL)
    assert decision(store, KEY, Headers({"Authorization": f"Bearer {token}"}), [URL]) == 403


@pytest.mark.parametrize("token", ["", "x", "x.y", "x.y.z", "é.é.é"])
def test_gate_refuses_what_is_no_token(store: Store, token: str) -> None:
    assert decision(store, KEY, Headers({"Authorization": f"Bearer {token}"}), [URL]) == 401


def _metadata(store: Store, path: str, *, meant: bool = True) -> tuple[int, str]:
    app = inside_app(store, lambda _: [])
    headers = {"Metadata-Flavor": "Google"} if meant else {}
    answer = app.test_client().get(f"/metadata/p/r/{ACCOUNT}/{path}", headers=headers)
    assert answer.headers["Metadata-Flavor"] == "Google"
    return answer.status_code, answer.text


ACCOUNTS = "computeMetadata/v1/instance/service-accounts"


@pytest.mark.parametrize("name", ["default", ACCOUNT])
def test_metadata_server_knows_whose_it_is(store: Store, name: str) -> None:
    assert _metadata(store, f"{ACCOUNTS}/{name}/email") == (200, ACCOUNT)
    assert _metadata(store, "computeMetadata/v1/project/project-id") == (200, "p")


def test_metadata_server_answers_only_who_means_it(store: Store) -> None:
    assert _metadata(store, f"{ACCOUNTS}/default/token", meant=False)[0] == 403
    assert _metadata(store, "", meant=False) == (200, "computeMetadata/\n")


def test_metadata_server_wants_an_audience(store: Store) -> None:
    assert _metadata(store, f"{ACCOUNTS}/default/identity")[0] == 400


def test_metadata_that_is_not_known_is_named(store: Store) -> None:
    status, text = _metadata(store, "computeMetadata/v1/instance/colour")
    assert (status, "instance/colour" in text) == (404, True)
