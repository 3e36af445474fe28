"""The start of a frontend, up to the moment it serves."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from imgserve.frontend import __main__ as frontend
from imgserve.frontend import server

APP = "frontend_v1/app.py"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[Any]:
    """Serve nothing, and return what would have been, from the root."""
    served: list[Any] = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(server.App, "run", lambda app, config: served.extend((app, config)))
    return served


def test_it_listens_where_it_is_told(served: list[Any]) -> None:
    assert frontend.main([APP], {"SERVING_PORT": "81"}) == 0
    assert frontend.main([APP], {"PORT": "8080", "HOST": "127.0.0.1"}) == 0
    assert served[1] == {"server.address": "0.0.0.0", "server.port": 8501}
    assert served[3] == {"server.address": "127.0.0.1", "server.port": 8080}
    assert str(served[0].script_path).endswith(APP)


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        ([APP], {"PORT": "x"}, "imgserve cannot start: PORT='x' cannot be used"),
        ([APP], {"SERVING_URL": "backend"}, "SERVING_URL='backend' cannot be used"),
        ([APP], {"SERVING_AUTH": "basic"}, "SERVING_AUTH='basic' cannot be used"),
        ([], {}, f"{frontend.USAGE}; nothing is no such file"),
        (["frontend_v9/app.py"], {}, f"{frontend.USAGE}; frontend_v9/app.py is no such file"),
        ([APP, APP], {}, frontend.USAGE),
    ],
)
def test_a_setting_or_a_page_that_cannot_be_used_ends_it_with_one_sentence(
    served: list[Any],
    arguments: list[str],
    environ: dict[str, str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert frontend.main(arguments, environ) == frontend.CANNOT_START
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert served == []


def test_uploads_wait_in_memory_where_no_folder_can_be_written(
    served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", Mock(side_effect=FileNotFoundError))
    frontend.main([APP], {"PORT": "8080"})
    assert tempfile.tempdir == "/dev/shm"  # noqa: S108
    assert served


def test_a_wrong_setting_is_named_before_streamlit_is_loaded(root: Path) -> None:
    code = "import sys, imgserve.frontend.__main__; sys.exit('streamlit' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
