"""A frontend as its container starts it: real Streamlit, no browser."""

import base64
import http.client
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.services.conftest import Frontend

PARTS = (".streamlit", "imgserve", "frontend_v1")
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture
def started(root: Path, tmp_path: Path) -> Iterator[Frontend]:
    """Return a frontend in a folder with what a container has, of somebody without a home."""
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / part, tmp_path / "app" / part, ignore=ignored)
    environ = {"HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    frontend = Frontend("frontend_v1", tmp_path / "app", environ)
    try:
        frontend.wait_until()
        yield frontend
    finally:
        frontend.stop()


def get(frontend: Frontend, path: str = "", **headers: str) -> requests.Response:
    return requests.get(f"{frontend.url}/{path}", timeout=20, headers=headers)


def test_files_are_compressed_once_and_the_page_has_a_head_and_headers_of_its_own(
    started: Frontend,
) -> None:
    page, health = get(started), get(started, "_stcore/health")
    assert (health.status_code, health.text) == (200, "ok")
    assert "<title>Animal Classification</title>" in page.text
    assert 'property="og:description" content="Show me a picture' in page.text
    script = re.findall(r'src="\./(static/[^"]+\.js)"', page.text)[0]
    first, second, whole = get(started, script), get(started, script), get(started, script, **PLAIN)
    assert first.headers["Content-Encoding"] == second.headers["Content-Encoding"] == "gzip"
    assert first.content == second.content == whole.content
    assert int(first.headers["Content-Length"]) < len(whole.content) / 2
    assert "immutable" in first.headers["Cache-Control"]
    for answer in (page, first, whole, health):
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    part = get(started, script, Range="bytes=0-9")
    assert part.status_code == 200 or len(part.content) == 10
    for name, kind in (("page.css", "css"), ("page.js", "javascript"), ("page.svg", "svg")):
        own = get(started, name)
        assert kind in own.headers["Content-Type"]
        assert own.content == get(started, name, **PLAIN).content
    # A font of icons that nothing shows is not asked for.
    assert "Material" not in page.text
    (style,) = re.findall(r'href="\./(static/[^"]+\.css)"', page.text)
    streamlits, ours = get(started, style, **PLAIN).text, get(started, style).text
    fonts = [css.count("@font-face") for css in (streamlits, ours)]
    assert (fonts[1], "Material Symbols" in ours) == (fonts[0] - 1, False)


def test_it_writes_no_file(started: Frontend, tmp_path: Path, root: Path) -> None:
    assert get(started).ok
    tree = tmp_path / "app"
    files = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    assert [path for path in files if not (root / path).is_file()] == []
    assert {path.name for path in tree.iterdir()} == set(PARTS)
    assert not (tmp_path / "home").exists()


def test_a_page_behind_a_proxy_opens_its_websocket_and_sigterm_ends_it_meanwhile(
    started: Frontend,
) -> None:
    """Cloud Run passes the name on that the browser asked for, and ends https before."""
    name = "frontend-v1-x7.a.run.app"
    connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=20)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = base64.b64encode(bytes(16)).decode()
    asked = {**upgrade, "Host": name, "Origin": f"https://{name}"}
    connection.request("GET", "/_stcore/stream", headers=asked)
    response = connection.getresponse()
    assert response.status == http.client.SWITCHING_PROTOCOLS
    assert started.stop(timeout_s=10) == 0  # Cloud Run's container contract gives no more
    response.close()
    connection.close()
