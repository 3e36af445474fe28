"""The start of a frontend, up to the moment it serves."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from imgserve.frontend import __main__ as frontend
from imgserve.frontend import server
from imgserve.machine import SHARED_MEMORY

APP = "frontend_v1/app.py"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[Any]:
    """Serve nothing, and return what would have been, from the root."""
    served: list[Any] = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(server.App, "run", lambda app, config: served.extend((app, config)))
    return served


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        ({}, "0.0.0.0", 8501),
        ({"PORT": "8080", "HOST": "127.0.0.1"}, "127.0.0.1", 8080),
        ({"SERVING_PORT": "81"}, "0.0.0.0", 8501),
    ],
)
def test_it_listens_where_it_is_told(
    served: list[Any], environ: dict[str, str], address: str, port: int
) -> None:
    assert frontend.main([APP], environ) == 0
    assert served[1] == {"server.address": address, "server.port": port}
    assert str(served[0].script_path).endswith(APP)


@pytest.mark.parametrize(
    "environ", [{"PORT": "x"}, {"SERVING_URL": "backend"}, {"SERVING_AUTH": "basic"}]
)
def test_a_setting_that_cannot_be_used_ends_it_with_one_sentence(
    served: list[Any], environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        frontend.main([APP], environ)
    assert caught.value.code == frontend.CANNOT_START
    said = capsys.readouterr().err
    name, value = environ.popitem()
    assert said.startswith(f"imgserve cannot start: {name}={value!r} cannot be used")
    assert said.count("\n") == 1
    assert served == []


@pytest.mark.parametrize("arguments", [[], ["frontend_v9/app.py"], [APP, APP]])
def test_a_page_that_there_is_not_ends_it_with_one_sentence(
    served: list[Any], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        frontend.main(arguments, {})
    assert caught.value.code == frontend.CANNOT_START
    said = capsys.readouterr().err
    assert frontend.USAGE in said
    assert said.count("\n") == 1
    assert served == []


def test_uploads_wait_in_memory_where_no_folder_can_be_written(
    served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    frontend.main([APP], {"PORT": "8080"})
    assert tempfile.tempdir == str(SHARED_MEMORY)
    assert served


def test_a_wrong_setting_is_named_before_streamlit_is_loaded(root: Path) -> None:
    code = "import sys, imgserve.frontend.__main__; sys.exit('streamlit' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
