"""The start of a frontend, up to the moment it becomes Streamlit."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from imgserve.frontend import __main__ as frontend
from imgserve.machine import SHARED_MEMORY

APP = "frontend_v1/app.py"


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[Any]:
    """Keep this process as it is, and return what it would have become, from the root."""
    became: list[Any] = []

    def execve(*call: Any) -> None:
        became.extend(call)
        raise SystemExit(0)

    monkeypatch.chdir(root)
    monkeypatch.setattr(os, "execve", execve)
    return became


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        ({}, "0.0.0.0", "8501"),
        ({"PORT": "8080", "HOST": "127.0.0.1"}, "127.0.0.1", "8080"),
        ({"SERVING_PORT": "81"}, "0.0.0.0", "8501"),
    ],
)
def test_it_becomes_streamlit_that_listens_where_it_is_told(
    became: list[Any], environ: dict[str, str], address: str, port: str
) -> None:
    with pytest.raises(SystemExit):
        frontend.main([APP], environ)
    listen = ["--server.address", address, "--server.port", port]
    assert became[0] == sys.executable
    assert became[1] == [sys.executable, "-m", "streamlit", "run", APP, *listen]
    assert became[2] == {**environ, "TMPDIR": tempfile.gettempdir()}


@pytest.mark.parametrize(
    "environ", [{"PORT": "x"}, {"SERVING_URL": "backend"}, {"SERVING_AUTH": "basic"}]
)
def test_a_setting_that_cannot_be_used_ends_it_with_one_sentence(
    became: list[Any], environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        frontend.main([APP], environ)
    assert caught.value.code == frontend.CANNOT_START
    said = capsys.readouterr().err
    name, value = environ.popitem()
    assert said.startswith(f"imgserve cannot start: {name}={value!r} cannot be used")
    assert said.count("\n") == 1
    assert became == []


@pytest.mark.parametrize("arguments", [[], ["frontend_v9/app.py"], [APP, APP]])
def test_a_page_that_there_is_not_ends_it_with_one_sentence(
    became: list[Any], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        frontend.main(arguments, {})
    assert caught.value.code == frontend.CANNOT_START
    said = capsys.readouterr().err
    assert frontend.USAGE in said
    assert said.count("\n") == 1
    assert became == []


def test_uploads_wait_in_memory_where_no_folder_can_be_written(
    became: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(SystemExit):
        frontend.main([APP], {"PORT": "8080"})
    assert became[2] == {"PORT": "8080", "TMPDIR": str(SHARED_MEMORY)}


def test_streamlit_is_loaded_once_by_what_it_becomes(root: Path) -> None:
    code = "import sys, imgserve.frontend; sys.exit('streamlit' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
