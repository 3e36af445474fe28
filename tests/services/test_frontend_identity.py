"""A page whose backend is not public: Chromium, Streamlit, and a metadata server's stand-in."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.unit.metadata_server import MetadataServer, claims_of

ANSWER = {
    "category": "tabby",
    "model": "resnet152",
    "predictions": [{"category": "tabby", "class_id": 281, "probability": 0.75}],
    "timings_ms": {"fetch": 1, "decode": 2, "preprocess": 3, "inference": 4, "total": 10},
}


class PrivateBackend(http.server.BaseHTTPRequestHandler):
    """Lets in whoever brings a token for it, as Cloud Run does."""

    def do_POST(self) -> None:
        """Answer, or say as Cloud Run does that the caller is not allowed."""
        self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers["Authorization"] or ""
        allowed = header and claims_of(header)["aud"] == f"http://{self.headers['Host']}"
        status, kind, body = 403, "text/html", b"<h1>Error: Forbidden</h1>"
        if allowed:
            status, kind, body = 200, "application/json", json.dumps(ANSWER).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def private_backend() -> Iterator[str]:
    """Return the address of a backend that is not public."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PrivateBackend)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def metadata() -> Iterator[MetadataServer]:
    server = MetadataServer()
    yield server
    server.close()


def test_with_an_id_token_the_page_may_call_its_backend(
    frontend: Callable[..., str],
    open_page: Callable[..., Page],
    private_backend: str,
    metadata: MetadataServer,
) -> None:
    url = frontend(private_backend, SERVING_AUTH="id-token", GCE_METADATA_HOST=metadata.host)
    for _ in range(2):  # two people
        page = open_page(url)
        page.get_by_role("button", name="Cat", exact=True).click()
        heading = page.get_by_role("heading", name="I think this is an image of a tabby")
        expect(heading).to_be_visible()
    assert metadata.audiences == [private_backend]


def test_without_one_the_page_says_that_it_may_not(
    frontend: Callable[..., str], open_page: Callable[..., Page], private_backend: str
) -> None:
    page = open_page(frontend(private_backend))
    page.get_by_role("button", name="Cat", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This page may not call its classifier.")
    expect(alert).not_to_contain_text("403")
