"""A frontend as its container starts it: real Streamlit, no browser."""

import base64
import http.client
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.services.streamlit_process import Frontend

PARTS = (".streamlit", "imgserve", "frontend_v1")


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """Return a folder with what a container has, and nothing else."""
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / part, tmp_path / "app" / part, ignore=ignored)
    return tmp_path / "app"


@pytest.fixture
def started(tree: Path, tmp_path: Path) -> Iterator[Frontend]:
    """Return a frontend that is started there by somebody without a home."""
    environ = {"HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    frontend = Frontend("frontend_v1", tree, environ, tmp_path / "log")
    frontend.wait_until_ready()
    yield frontend
    frontend.stop()


def handshake(port: int, **headers: str) -> http.client.HTTPConnection:
    """Return a connection on which the page's WebSocket was asked for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    key = base64.b64encode(bytes(16)).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    connection.request(
        "GET", "/_stcore/stream", headers={**upgrade, "Sec-WebSocket-Key": key, **headers}
    )
    return connection


def test_its_health_answers_ok(started: Frontend) -> None:
    health = requests.get(f"{started.url}/_stcore/health", timeout=20)
    assert (health.status_code, health.text) == (200, "ok")


def test_files_are_compressed_once_and_the_page_has_a_head_and_headers_of_its_own(
    started: Frontend,
) -> None:
    plain = {"Accept-Encoding": "identity"}
    page = requests.get(started.url, timeout=20)
    assert "<title>Animal Classification</title>" in page.text
    assert 'property="og:description" content="Show me a picture' in page.text
    script = re.findall(r'src="\./(static/[^"]+\.js)"', page.text)[0]
    first, second = (requests.get(f"{started.url}/{script}", timeout=20) for _ in range(2))
    whole = requests.get(f"{started.url}/{script}", timeout=20, headers=plain)
    assert first.headers["Content-Encoding"] == second.headers["Content-Encoding"] == "gzip"
    assert first.content == second.content == whole.content
    assert int(first.headers["Content-Length"]) < len(whole.content) / 2
    assert "immutable" in first.headers["Cache-Control"]
    for answer in (page, first, whole, requests.get(f"{started.url}/_stcore/health", timeout=20)):
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    part = requests.get(f"{started.url}/{script}", timeout=20, headers={"Range": "bytes=0-9"})
    assert part.status_code == 200 or len(part.content) == 10


def test_a_font_of_icons_that_nothing_shows_is_not_asked_for(started: Frontend) -> None:
    page = requests.get(started.url, timeout=20)
    assert "Material" not in page.text
    (style,) = re.findall(r'href="\./(static/[^"]+\.css)"', page.text)
    plain = {"Accept-Encoding": "identity"}
    streamlits = requests.get(f"{started.url}/{style}", timeout=20, headers=plain).text
    ours = requests.get(f"{started.url}/{style}", timeout=20).text
    assert ("Material Symbols" in streamlits, "Material Symbols" in ours) == (True, False)
    assert ours.count("@font-face") == streamlits.count("@font-face") - 1


def test_it_writes_no_file(started: Frontend, tree: Path, tmp_path: Path, root: Path) -> None:
    assert requests.get(started.url, timeout=20).ok
    files = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    assert [path for path in files if not (root / path).is_file()] == []
    assert {path.name for path in tree.iterdir()} == set(PARTS)
    assert not (tmp_path / "home").exists()


def test_sigterm_ends_it_while_a_page_is_open(started: Frontend) -> None:
    connection = handshake(started.port)
    response = connection.getresponse()
    assert response.status == http.client.SWITCHING_PROTOCOLS
    assert started.stop() == 0
    response.close()
    connection.close()


def test_a_page_behind_a_proxy_opens_its_websocket_without_more_settings(
    started: Frontend,
) -> None:
    """Cloud Run passes the name on that the browser asked for, and ends https before."""
    name = "frontend-v1-x7.a.run.app"
    connection = handshake(started.port, Host=name, Origin=f"https://{name}")
    response = connection.getresponse()
    assert response.status == http.client.SWITCHING_PROTOCOLS
    response.close()
    connection.close()
