"""``make run``: what it starts, and what it refuses."""

import socket
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from imgserve.models.catalogue import EMBEDDED
from tools import run
from tools.run import RunSettings, port_complaint, services
from tools.supervisor import USER_AGENT, Service, readable
from v3.gateway import serve

URL = "http://127.0.0.1"
# Name, module, what it runs, port, and what it is told beside what all are; v3's page sends no key.
SERVICES = {
    "v1": f"""\
backend gunicorn backend_v1.app:app 8000 MODEL_NAME=efficientnet_lite0
frontend imgserve.frontend frontend_v1/app.py 8501 SERVING_URL={URL}:8000""",
    "v2": f"""\
backend gunicorn backend_v2.app:app 8000 MODELS=vgg16,swin_b
frontend imgserve.frontend frontend_v2/app.py 8501 SERVING_URL={URL}:8000""",
    "v3": f"""\
vgg16 gunicorn v3.backend.app:app 8000 MODELS=vgg16,swin_b MODEL_NAME=vgg16
swin_b gunicorn v3.backend.app:app 8001 MODELS=vgg16,swin_b MODEL_NAME=swin_b
gateway v3.gateway serve 8080 API_KEY= BACKENDS=vgg16={URL}:8000,swin_b={URL}:8001
frontend imgserve.frontend v3/frontend/app.py 8501 API_GATEWAY={URL}:8080""",
}


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a test fail that would start services."""
    monkeypatch.setattr(run, "supervise", Mock(side_effect=AssertionError("services would start")))


def by_name(settings: RunSettings, environ: dict[str, str]) -> dict[str, Service]:
    return {service.name: service for service in services(settings, environ)}


@pytest.mark.parametrize("version", SERVICES)
def test_services_of_a_version_are_told_of_each_other_on_loopback(version: str) -> None:
    settings = RunSettings(version=version, models=("vgg16", "swin_b"))
    given = {"API_KEY": "meant for something else", "THREADS": "2", "LOG_LEVEL": "DEBUG"}
    found = []
    for service in services(settings, given):
        own = dict(service.environ)
        assert (own.pop("HOST"), own["LOG_LEVEL"]) == ("127.0.0.1", "DEBUG")
        assert service.command[0] == sys.executable
        port = own.pop("PORT")
        ready = "/_stcore/health" if service.name == "frontend" else "/ready"
        assert service.ready_url == f"{URL}:{port}{ready}"
        told = sorted("=".join(pair) for pair in own.items() - given.items())
        found.append(" ".join([service.name, service.command[2], service.command[-1], port, *told]))
    assert found == SERVICES[version].splitlines()


@pytest.mark.parametrize("name", [None, "", "swin_b"])
def test_model_of_v1_is_the_embedded_one_by_default(name: str | None) -> None:
    model = name or "efficientnet_lite0"
    backend = by_name(RunSettings(), {} if name is None else {"MODEL_NAME": name})["backend"]
    assert backend.environ["MODEL_NAME"] == model


@pytest.mark.parametrize(("cpus", "share"), [(1, "1"), (2, "1"), (7, "2"), (12, "4")])
def test_backends_of_v3_share_cpus(cpus: int, share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "cpu_quota", lambda: cpus)
    backends = [by_name(RunSettings(version="v3"), {})[model] for model in EMBEDDED]
    assert {backend.environ["THREADS"] for backend in backends} == {share}
    told = by_name(RunSettings(version="v3"), {"THREADS": "5"})[EMBEDDED[0]]
    assert told.environ["THREADS"] == "5"


def test_taken_and_held_ports_are_named_with_the_variable_to_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and does not listen
        taken, held = (sock.getsockname()[1] for sock in (server, holder))
        given = {"VERSION": "v3", "BACKEND_PORT": str(taken - 1), "GATEWAY_PORT": "9"}
        assert f"Port {taken} is taken" in port_complaint(RunSettings.from_environ(given))
        assert run.main({"FRONTEND_PORT": str(held)}) == 2
        said = f"Port {held} is taken: stop what uses it, or set another FRONTEND_PORT\n"
        assert capsys.readouterr().out == said
        assert str(taken) not in port_complaint(RunSettings(gateway_port=taken))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BACKEND_PORT": "8501"}, "BACKEND_PORT and FRONTEND_PORT are both 8501: choose two"),
        (
            {"VERSION": "v3", "BACKEND_PORT": "8079"},
            "BACKEND_PORT + 1 and GATEWAY_PORT are both 8080: choose two",
        ),
        ({"VERSION": "v3", "BACKEND_PORT": "65534"}, "set another BACKEND_PORT + 2"),
        ({"VERSION": "v9"}, "VERSION='v9' cannot be used: it takes one of v1, v2, v3"),
        ({"VERSION": "v3", "PATH": "/nowhere"}, "apt-get install nginx"),
        ({"MODEL_NAME": "swim_b"}, "there is no model 'swim_b': choose one of resnet152, "),
        ({"VERSION": "v2", "MODELS": "swin_b,Vgg16"}, "there is no model 'Vgg16'"),
        ({"VERSION": "v2", "MODELS": ","}, "MODELS=',' cannot be used: it takes a list"),
    ],
)
def test_what_cannot_be_is_refused(
    environ: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "PATH" in environ:
        monkeypatch.setattr(serve, "DEBIAN_FOLDER", "/nowhere")
    else:
        monkeypatch.setattr(run, "find_nginx", lambda _: Path("nginx"))
    assert run.main(environ) == 2
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("starting", "starting"),
        ('["a", "list"]', '["a", "list"]'),
        ('{"severity": "INFO", "message": "model loaded", "time": "now"}', "INFO model loaded"),
        (f'{{"severity":"INFO","message":"","httpRequest":{{"userAgent":"{USER_AGENT}"}}}}', None),
    ],
)
def test_readable_shows_what_a_person_needs_of_a_line(line: str, shown: str | None) -> None:
    assert readable(line) == shown
