"""The real gateway's process, before backends with names and with certificates."""

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests
from dnslib import QTYPE, RCODE, DNSRecord
from dnslib.server import DNSLogger, DNSServer, UDPServer
from dnslib.zoneresolver import ZoneResolver

from tests.services.conftest import Service, free_port
from tests.services.gateway_process import (
    Gateway,
    Lab,
    assert_problem,
    make_lab,  # noqa: F401  a fixture
)
from tests.unit.waiting import wait_until
from v3.gateway.serve import find_nginx

PATH = "/model/swin_b"


# --- the process ------------------------------------------------------------------------------


def test_connections_to_an_address_are_kept_and_a_stop_finishes_what_there_is(lab: Lab) -> None:
    upstream = lab.upstream()
    gateway = lab.gateway({"swin_b": f"http://localhost:{upstream.server_port}"})
    for _ in range(5):
        seen = gateway.post(f"{PATH}/predict").json()
        assert seen["headers"]["host"] == f"localhost:{upstream.server_port}"
    assert len(upstream.open) == 1
    upstream.delay_s = 1
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("GET", PATH)
    wait_until(lambda: len(upstream.asked) > 5)
    for _ in range(20):  # as who stops it may be in a hurry
        gateway.process.terminate()
    assert gateway.stop() == 0
    assert connection.getresponse().status == 200
    connection.close()
    with pytest.raises(requests.ConnectionError):
        gateway.get("/hello")


def test_taken_port_stops_the_start_with_what_nginx_says(lab: Lab) -> None:
    port = lab.upstream().server_port
    gateway = Gateway(lab.root, {"swin_b": "http://127.0.0.1:1"}, PORT=str(port))
    gateway.process.wait(timeout=30)
    assert gateway.stop() != 0
    assert "Address already in use" in "".join(gateway.log)
    assert "Traceback" not in "".join(gateway.log)


def test_nginx_runs_for_any_user_and_writes_below_one_folder(lab: Lab) -> None:
    # The standard streams are the user's own, as container runtimes make them.
    command = ["bash", "-c", 'exec "$0" "$@" > >(cat)', find_nginx(os.environ["PATH"])]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    port = free_port()
    environ = {"HOST": "127.0.0.1", "PORT": str(port), "BACKENDS": f"swin_b={lab.upstream().url}"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        make = [sys.executable, "-m", "v3.gateway", "nginx", "--folder", name]
        made = subprocess.check_output(make, cwd=lab.root, env={**os.environ, **environ})
        (folder / "nginx.conf").write_bytes(made)
        nginx = Service([*command, "-e", "stderr", "-c", f"{name}/nginx.conf"], lab.root, port, {})
        try:
            nginx.wait_until("/ready")
            url = f"{nginx.url}{PATH}/predict"
            assert requests.post(url, b"x" * 2_000_000, timeout=10).json()["size"] == 2_000_000
            written = {path.name for path in folder.iterdir()}
        finally:
            nginx.stop()
    folders = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}
    assert written == {"nginx.conf", "nginx.pid"} | folders
    assert [json.loads(line)["httpRequest"]["status"] for line in nginx.log] == [200, 200]


# --- names and certificates, as on Cloud Run --------------------------------------------------


class Zone(ZoneResolver):  # type: ignore[misc]  # dnslib has no types
    """Knows the addresses of names, none of which has one of IPv6."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        """Answer one question."""
        reply = super().resolve(request, handler)
        if self.zone and request.q.qtype == QTYPE.AAAA:
            reply.header.rcode = RCODE.NOERROR
        return reply


@pytest.fixture
def name_server() -> Iterator[UDPServer]:
    """Return a name server; what it knows is its `resolver`, which may be replaced."""
    quiet = DNSLogger("-request,-reply,-truncated,-error")
    server = DNSServer(Zone(""), "127.0.0.1", free_port(), logger=quiet)
    server.start_thread()
    yield server.server
    server.stop()
    server.server.server_close()


def test_name_is_followed_without_a_restart_and_unknown_keeps_only_its_own_model_away(
    lab: Lab, name_server: UDPServer
) -> None:
    port = free_port()
    first, second = (lab.upstream(host=host, port=port) for host in ("127.0.0.1", "127.0.0.2"))
    backends = {"swin_b": f"http://backend.test:{port}", "vgg16": first.url}
    gateway = lab.gateway(backends, RESOLVER=f"127.0.0.1:{name_server.server_address[1]}")
    detail = assert_problem(gateway.get(PATH), 502, "backend-unreachable")
    assert "the backend of swin_b" in detail
    assert gateway.get("/model/vgg16").ok
    for upstream in (first, second):
        name_server.resolver = Zone(f"backend.test 1 A {upstream.server_address[0]}")
        wait_until(lambda: gateway.get(PATH).ok and upstream.asked)  # noqa: B023  called here
        assert upstream.asked[-1]["headers"]["host"] == f"backend.test:{port}"


def test_name_server_that_does_not_answer_keeps_only_its_names_away(lab: Lab) -> None:
    backends = {"swin_b": "http://backend.test", "vgg16": lab.upstream().url}
    gateway = lab.gateway(backends, RESOLVER=f"127.0.0.1:{free_port()}")
    assert_problem(gateway.get_beside_another(PATH), 502, "backend-unreachable")


def test_https_backend_is_asked_for_by_its_name_and_must_prove_it(
    lab: Lab, name_server: UDPServer, tmp_path: Path
) -> None:
    both = "backend.test 1 A 127.0.0.1\nimpostor.test 1 A 127.0.0.1"
    name_server.resolver = Zone(both)
    certificate = tmp_path / "backend.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=backend.test", "-addext", "subjectAltName=DNS:backend.test"]
    command += ["-keyout", str(certificate), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    asked_for: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    upstream = lab.upstream(tls=tls)
    backends = {
        "swin_b": f"https://backend.test:{upstream.server_port}",
        "vgg16": f"https://impostor.test:{upstream.server_port}",
    }
    resolver = f"127.0.0.1:{name_server.server_address[1]}"
    gateway = lab.gateway(backends, RESOLVER=resolver, SSL_CERT_FILE=str(certificate))
    seen = gateway.post(f"{PATH}/predict", b"x" * 100_000).json()
    assert (seen["size"], asked_for) == (100_000, ["backend.test"])
    assert seen["headers"]["host"] == f"backend.test:{upstream.server_port}"
    detail = assert_problem(gateway.get("/model/vgg16"), 502, "backend-unreachable")
    assert "the backend of vgg16" in detail
    unbelieving = lab.gateway(backends, RESOLVER=resolver)  # nobody it trusts signed for this one
    assert_problem(unbelieving.get(PATH), 502, "backend-unreachable")
    assert len(upstream.asked) == 1
