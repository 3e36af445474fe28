"""``make run``: what it starts, and what it refuses."""

import shlex
import socket
import sys
from pathlib import Path

import pytest

from tools import run
from tools.run import EMBEDDED, RunSettings, port_complaint, services
from tools.supervisor import USER_AGENT, Service, readable
from v3.gateway import serve
from v3.gateway.backends import read_backends
from v3.gateway.settings import LIST


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a test fail that would start services."""

    def supervise(*_: object) -> int:
        pytest.fail("this would have started services")

    monkeypatch.setattr(run, "supervise", supervise)


def by_name(settings: RunSettings, environ: dict[str, str]) -> dict[str, Service]:
    return {service.name: service for service in services(settings, environ)}


def test_services_of_v1_are_gunicorn_and_streamlit_on_loopback() -> None:
    settings = RunSettings(backend_port=9000, frontend_port=9001)
    backend, frontend = services(settings, {"THREADS": "2"})
    assert backend.command[:3] == (sys.executable, "-m", "gunicorn")
    assert backend.command[-1] == "backend_v1.app:app"
    assert (backend.environ["HOST"], backend.environ["PORT"]) == ("127.0.0.1", "9000")
    assert backend.ready_url == "http://127.0.0.1:9000/ready"
    assert frontend.command == (sys.executable, "-m", "imgserve.frontend", "frontend_v1/app.py")
    assert (frontend.environ["HOST"], frontend.environ["PORT"]) == ("127.0.0.1", "9001")
    assert frontend.environ["SERVING_URL"] == "http://127.0.0.1:9000"
    assert backend.environ["THREADS"] == frontend.environ["THREADS"] == "2"


@pytest.mark.parametrize("name", [None, "", "swin_b"])
def test_model_of_v1_is_the_embedded_one_by_default(name: str | None) -> None:
    model = name or "efficientnet_lite0"
    backend = by_name(RunSettings(), {} if name is None else {"MODEL_NAME": name})["backend"]
    assert backend.environ["MODEL_NAME"] == model


def test_services_of_v2_are_one_backend_with_all_models_and_its_page() -> None:
    settings = RunSettings(version="v2", models=("vgg16", "swin_b"))
    backend, frontend = services(settings, {})
    assert backend.command[-1] == "backend_v2.app:app"
    assert backend.environ["MODELS"] == "vgg16,swin_b"
    assert "MODEL_NAME" not in backend.environ
    assert "frontend_v2/app.py" in frontend.command
    assert frontend.environ["SERVING_URL"] == "http://127.0.0.1:8000"


def test_services_of_v3_are_a_backend_for_each_model_a_gateway_and_its_page() -> None:
    settings = RunSettings(version="v3", models=("vgg16", "swin_b"), backend_port=9000)
    found = by_name(settings, {"MODEL_NAME": "resnet152", "API_KEY": "meant for something else"})
    assert list(found) == ["vgg16", "swin_b", "gateway", "frontend"]
    for port, model in ((9000, "vgg16"), (9001, "swin_b")):
        backend = found[model]
        assert backend.command[-1] == "v3.backend.app:app"
        assert (backend.environ["PORT"], backend.environ["MODEL_NAME"]) == (str(port), model)
        assert backend.environ["MODELS"] == "vgg16,swin_b"
    assert "v3/frontend/app.py" in found["frontend"].command
    assert found["frontend"].environ["API_GATEWAY"] == "http://127.0.0.1:8080"
    gateway = found["gateway"].environ
    urls = [(backend.model, backend.url) for backend in read_backends(LIST, gateway["BACKENDS"])]
    assert urls == [("vgg16", "http://127.0.0.1:9000"), ("swin_b", "http://127.0.0.1:9001")]
    assert (gateway["HOST"], gateway["PORT"]) == ("127.0.0.1", "8080")
    assert gateway["API_KEY"] == ""  # the page would send none


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
    ("version", "target"),
    [
        ("v1", "http://127.0.0.1:8000/predict"),
        ("v2", "http://127.0.0.1:8000/predict"),
        ("v3", "http://127.0.0.1:8080/model/vgg16/predict"),
    ],
)
def test_announcement_asks_the_default_model(version: str, target: str) -> None:
    text = run.announcement(RunSettings(version=version, models=("vgg16", "swin_b")))
    assert "http://127.0.0.1:8501" in text
    (command,) = (line for line in text.splitlines() if "curl -F" in line)
    *_, picture, asked = shlex.split(command)
    assert Path(picture.removeprefix("image=@")).is_file()
    assert asked == target
    assert ("http://127.0.0.1:8080/models" in text) == (version == "v3")


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
