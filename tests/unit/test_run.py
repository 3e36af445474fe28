"""``make run``: what it starts, and what it refuses."""

import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from imgserve.models.catalogue import CATALOGUE
from tools.processes import Service
from tools.processes.child import ended
from tools.processes.output import USER_AGENT, readable
from tools.run import __main__ as run
from tools.run import ports
from tools.run import services as version_services
from tools.run.services import services
from tools.run.settings import EMBEDDED, RunSettings
from v3.gateway import system
from v3.gateway.backends import read_backends
from v3.gateway.settings import LIST


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def held_port() -> Iterator[int]:
    """Return a port that somebody holds without listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a test fail that would start services."""

    def supervise(*_: object) -> int:
        pytest.fail("this would have started services")

    monkeypatch.setattr(run, "supervise", supervise)


def by_name(settings: RunSettings, environ: dict[str, str]) -> dict[str, Service]:
    """Return the services of a version by name."""
    return {service.name: service for service in services(settings, environ)}


def test_services_of_v1_are_gunicorn_and_streamlit_on_loopback() -> None:
    settings = RunSettings(backend_port=9000, frontend_port=9001)
    backend, frontend = services(settings, {"THREADS": "2"})
    assert backend.command[:3] == (sys.executable, "-m", "gunicorn")
    assert backend.command[-1] == "backend_v1.app:app"
    assert backend.environ["HOST"] == "127.0.0.1"
    assert backend.environ["PORT"] == "9000"
    assert backend.ready_url == "http://127.0.0.1:9000/ready"
    assert frontend.command == (sys.executable, "-m", "imgserve.frontend", "frontend_v1/app.py")
    assert (frontend.environ["HOST"], frontend.environ["PORT"]) == ("127.0.0.1", "9001")
    assert frontend.environ["SERVING_URL"] == "http://127.0.0.1:9000"
    assert backend.environ["THREADS"] == frontend.environ["THREADS"] == "2"
    assert (backend.models, frontend.models) == (("efficientnet_lite0",), ())


def test_model_of_v1_is_the_embedded_one_unless_told_otherwise() -> None:
    default = by_name(RunSettings(), {})["backend"]
    chosen = by_name(RunSettings(), {"MODEL_NAME": "swin_b"})["backend"]
    empty = by_name(RunSettings(), {"MODEL_NAME": ""})["backend"]
    assert default.environ["MODEL_NAME"] == empty.environ["MODEL_NAME"] == "efficientnet_lite0"
    assert chosen.environ["MODEL_NAME"] == "swin_b"
    assert chosen.models == ("swin_b",)


def test_services_of_v2_are_one_backend_with_all_models_and_its_page() -> None:
    settings = RunSettings(version="v2", models=("vgg16", "swin_b"))
    backend, frontend = services(settings, {})
    assert backend.command[-1] == "backend_v2.app:app"
    assert backend.environ["MODELS"] == "vgg16,swin_b"
    assert "MODEL_NAME" not in backend.environ
    assert (backend.models, frontend.models) == (("vgg16", "swin_b"), ())
    assert "frontend_v2/app.py" in frontend.command
    assert frontend.environ["SERVING_URL"] == "http://127.0.0.1:8000"


def test_default_model_of_v2_is_the_one_that_is_named() -> None:
    settings = RunSettings(version="v2", models=("vgg16", "swin_b"))
    backend, _ = services(settings, {"MODEL_NAME": "swin_b"})
    assert backend.models == ("swin_b", "vgg16")
    assert backend.environ["MODEL_NAME"] == "swin_b"


def test_services_of_v3_are_a_backend_for_each_model_a_gateway_and_its_page() -> None:
    settings = RunSettings(version="v3", models=("vgg16", "swin_b"), backend_port=9000)
    found = by_name(settings, {"MODEL_NAME": "resnet152"})
    assert list(found) == ["vgg16", "swin_b", "gateway", "frontend"]
    for port, model in ((9000, "vgg16"), (9001, "swin_b")):
        backend = found[model]
        assert backend.command[-1] == "v3.backend.app:app"
        assert (backend.environ["PORT"], backend.environ["MODEL_NAME"]) == (str(port), model)
        assert backend.environ["MODELS"] == "vgg16,swin_b"
        assert backend.models == (model,)
    assert found["gateway"].models == found["frontend"].models == ()
    assert "v3/frontend/app.py" in found["frontend"].command
    assert found["frontend"].environ["API_GATEWAY"] == "http://127.0.0.1:8080"
    given = found["gateway"].environ["BACKENDS"]
    assert {each.model: each.url for each in read_backends(LIST, given)} == {
        "vgg16": "http://127.0.0.1:9000",
        "swin_b": "http://127.0.0.1:9001",
    }
    assert (found["gateway"].environ["HOST"], found["gateway"].environ["PORT"]) == (
        "127.0.0.1",
        "8080",
    )


def test_gateway_of_v3_asks_for_no_key_that_the_page_would_not_send() -> None:
    found = by_name(RunSettings(version="v3"), {"API_KEY": "meant for something else"})
    assert "API_KEY" not in found["gateway"].environ


@pytest.mark.parametrize(("cpus", "share"), [(1, "1"), (2, "1"), (7, "2"), (12, "4")])
def test_backends_of_v3_share_the_cpus(
    cpus: int, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_services, "cpu_quota", lambda: cpus)
    backends = [by_name(RunSettings(version="v3"), {})[model] for model in EMBEDDED]
    assert {backend.environ["THREADS"] for backend in backends} == {share}
    told = by_name(RunSettings(version="v3"), {"THREADS": "5"})[EMBEDDED[0]]
    assert told.environ["THREADS"] == "5"


def test_taken_port_is_named_with_a_free_one_to_choose(
    taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    free = ports.next_free(20000, {taken_port})
    assert run.main({"BACKEND_PORT": str(taken_port), "FRONTEND_PORT": str(free)}) == 2
    said = capsys.readouterr().out
    assert f"Port {taken_port} is taken" in said
    instead = suggested(said)
    assert ports.is_free(int(instead["BACKEND_PORT"]))
    assert instead["FRONTEND_PORT"] == str(free)


def suggested(said: str) -> dict[str, str]:
    """Return the settings of the command that a complaint about ports ends with."""
    _, _, words = said.rpartition(": make run ")
    return dict(word.split("=", 1) for word in shlex.split(words))


def test_taken_port_of_any_backend_of_v3_is_named_with_enough_free_ones_in_a_row(
    taken_port: int,
) -> None:
    settings = RunSettings(version="v3", backend_port=taken_port - 1, gateway_port=taken_port + 9)
    complaint = ports.port_complaint(settings, {"VERSION": "v3"})
    assert f"Port {taken_port} is taken" in complaint
    instead = suggested(complaint)
    assert list(instead) == ["VERSION", "BACKEND_PORT"]
    first = int(instead["BACKEND_PORT"])
    row = range(first, first + len(EMBEDDED))
    assert all(ports.is_free(port) for port in row)
    assert not {taken_port, taken_port + 9, settings.frontend_port} & set(row)


def test_taken_port_of_the_gateway_is_named(taken_port: int) -> None:
    settings = RunSettings(version="v3", gateway_port=taken_port)
    said = ports.port_complaint(settings, {"VERSION": "v3"})
    assert f"Port {taken_port} is taken" in said
    assert list(suggested(said)) == ["VERSION", "GATEWAY_PORT"]


def test_port_that_is_held_but_not_listened_on_is_not_free(held_port: int) -> None:
    assert not ports.is_free(held_port)


def test_one_command_names_free_ports_for_all_that_are_taken_and_keeps_what_was_set(
    taken_port: int, held_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"VERSION": "v2", "MODELS": "swin_b,vgg16", "WEIGHTS_DIR": "/a folder"}
    wanted = {"BACKEND_PORT": str(taken_port), "FRONTEND_PORT": str(held_port)}
    untold = dict.fromkeys(("PATH", "HOST", "SECRET_KEY", "SSL_CERT_FILE"), "x") | {"THREADS": ""}
    assert run.main({**given, **wanted, **untold}) == 2
    said = capsys.readouterr().out
    assert f"Ports {taken_port}, {held_port} are taken" in said
    instead = suggested(said)
    assert {name: instead.pop(name) for name in given} == given
    assert list(instead) == list(wanted)
    assert all(ports.is_free(int(port)) for port in instead.values())
    assert len(set(instead.values())) == len(wanted)


def test_next_free_port_may_be_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port == 5000)
    assert ports.next_free(65000, set()) == 5000


def test_no_free_ports_in_a_row_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port % 2)
    with pytest.raises(OSError, match="no 2 free ports in a row"):
        ports.next_free(60000, set(), count=2)


def test_one_port_for_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main({"BACKEND_PORT": "8000", "FRONTEND_PORT": "8000"}) == 2
    assert "BACKEND_PORT and FRONTEND_PORT are both 8000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            RunSettings(version="v3", backend_port=8079),
            "BACKEND_PORT + 1 and GATEWAY_PORT are both 8080: choose two",
        ),
        (
            RunSettings(version="v3", backend_port=65534),
            "BACKEND_PORT + 2 is 65536, but the highest port is 65535: choose a lower one",
        ),
    ],
)
def test_ports_of_v3_that_cannot_be_are_refused(settings: RunSettings, said: str) -> None:
    assert ports.port_complaint(settings, {}) == said


def test_gateways_port_is_nobodys_business_in_v1(taken_port: int) -> None:
    assert str(taken_port) not in ports.port_complaint(RunSettings(gateway_port=taken_port), {})


def test_unknown_version_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run.main({"VERSION": "v9"}) == 2
    assert "VERSION='v9' cannot be used: it takes one of v1, v2, v3" in capsys.readouterr().out


@pytest.mark.parametrize("models", ["swim_b", "swin_b,Vgg16", ","])
def test_models_that_cannot_be_are_refused_with_those_there_are(
    models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main({"VERSION": "v2", "MODELS": models}) == 2
    said = capsys.readouterr().out
    assert f"MODELS={models!r} cannot be used: it takes models" in said
    assert all(model in said for model in CATALOGUE)


def test_v3_without_nginx_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "PROGRAM_FOLDERS", ())
    assert run.main({"VERSION": "v3", "PATH": "/nowhere"}) == 2
    assert "apt-get install nginx" in capsys.readouterr().out


def test_announcement_has_the_page_and_a_curl_line_for_a_picture_that_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced: list[str] = []

    def supervise(
        services: Sequence[Service], folder: Path, announce: Callable[[Sequence[str]], str]
    ) -> int:
        assert len(services) == 2
        assert (folder / "imgserve").is_dir()
        announced.append(announce(["efficientnet_lite0"]))
        return 0

    monkeypatch.setattr(run, "supervise", supervise)
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    assert run.main({"BACKEND_PORT": "9000", "FRONTEND_PORT": "9001"}) == 0
    assert "http://127.0.0.1:9001" in announced[0]
    assert asked_by_curl(announced[0]) == "http://127.0.0.1:9000/predict"


def asked_by_curl(announcement: str) -> str:
    """Return where the announcement's command sends a picture, which is checked to exist."""
    line = next(line for line in announcement.splitlines() if "curl -F" in line)
    _, *words = shlex.split(line)
    assert Path(words[2].removeprefix("image=@")).is_file()
    return words[-1]


def test_announcement_of_v2_asks_the_default_model_by_name() -> None:
    text = run.announcement(RunSettings(version="v2"), ["swin_b", "vgg16"])
    assert asked_by_curl(text) == "http://127.0.0.1:8000/model/swin_b/predict"


def test_announcement_of_v3_asks_a_model_that_is_there_through_the_gateway() -> None:
    settings = RunSettings(version="v3", models=("swin_b", "vgg16"))
    text = run.announcement(settings, ["vgg16"])
    assert asked_by_curl(text) == "http://127.0.0.1:8080/model/vgg16/predict"
    assert "http://127.0.0.1:8080/models" in text


@pytest.mark.parametrize(("code", "words"), [(3, "exit status 3"), (-9, "signal SIGKILL")])
def test_ended_says_how(code: int, words: str) -> None:
    assert ended(code) == words


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
