"""``make run``: what it starts, and what it refuses."""

import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from imgserve import run
from imgserve.processes import USER_AGENT, Service, ended, readable


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


def test_services_of_v1_are_gunicorn_and_streamlit_on_loopback() -> None:
    settings = run.RunSettings(backend_port=9000, frontend_port=9001)
    backend, frontend = run.services(settings, {"THREADS": "2"})
    assert backend.command[:3] == (sys.executable, "-m", "gunicorn")
    assert backend.command[-1] == "backend_v1.app:app"
    assert backend.environ["HOST"] == "127.0.0.1"
    assert backend.environ["PORT"] == "9000"
    assert backend.ready_url == "http://127.0.0.1:9000/ready"
    assert "frontend_v1/app.py" in frontend.command
    assert shlex.join(frontend.command).count("127.0.0.1") == 1
    assert frontend.environ["SERVING_URL"] == "http://127.0.0.1:9000"
    assert backend.environ["THREADS"] == frontend.environ["THREADS"] == "2"


def test_model_is_the_embedded_one_unless_told_otherwise() -> None:
    default, _ = run.services(run.RunSettings(), {})
    chosen, _ = run.services(run.RunSettings(), {"MODEL_NAME": "swin_b"})
    assert default.environ["MODEL_NAME"] == "efficientnet_lite0"
    assert chosen.environ["MODEL_NAME"] == "swin_b"


def test_taken_port_is_named_with_a_free_one_to_choose(
    taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    free = run.next_free(20000, {taken_port})
    assert run.main({"BACKEND_PORT": str(taken_port), "FRONTEND_PORT": str(free)}) == 2
    said = capsys.readouterr().out
    assert f"Port {taken_port} is taken" in said
    assert "make run BACKEND_PORT=" in said
    assert "FRONTEND_PORT" not in said


def test_port_that_is_held_but_not_listened_on_is_not_free(held_port: int) -> None:
    assert not run.is_free(held_port)


def test_both_taken_ports_are_named(taken_port: int, held_port: int) -> None:
    settings = run.RunSettings(backend_port=taken_port, frontend_port=held_port)
    backend, frontend = run.port_complaints(settings)
    assert "BACKEND_PORT" in backend
    assert "FRONTEND_PORT" in frontend


def test_next_free_port_may_be_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "is_free", lambda port: port == 5000)
    assert run.next_free(65000, set()) == 5000


def test_one_port_for_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main({"BACKEND_PORT": "8000", "FRONTEND_PORT": "8000"}) == 2
    assert "BACKEND_PORT and FRONTEND_PORT are both 8000" in capsys.readouterr().out


def test_unknown_version_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run.main({"VERSION": "v9"}) == 2
    assert "VERSION='v9' cannot be used: it takes one of v1" in capsys.readouterr().out


def test_announcement_has_the_page_and_a_curl_line_for_a_picture_that_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced: list[str] = []

    def supervise(services: Sequence[Service], folder: Path, announcement: str) -> int:
        assert len(services) == 2
        assert (folder / "imgserve").is_dir()
        announced.append(announcement)
        return 0

    monkeypatch.setattr(run, "supervise", supervise)
    monkeypatch.setattr(run, "is_free", lambda _: True)
    assert run.main({"BACKEND_PORT": "9000", "FRONTEND_PORT": "9001"}) == 0
    assert "http://127.0.0.1:9001" in announced[0]
    line = next(line for line in announced[0].splitlines() if "curl -F" in line)
    _, *words = shlex.split(line)
    assert words[-1] == "http://127.0.0.1:9000/predict"
    assert Path(words[2].removeprefix("image=@")).is_file()


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
