"""A page whose backend is not public: Chromium, Streamlit, and a metadata server's stand-in."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.servers import Quiet, served
from tests.unit.metadata_server import claims_of, metadata_server

ANSWER = {
    "category": "tabby",
    "model": "resnet152",
    "predictions": [{"category": "tabby", "class_id": 281, "probability": 0.75}],
    "timings_ms": {"fetch": 1, "decode": 2, "preprocess": 3, "inference": 4, "total": 10},
}


class PrivateBackend(Quiet):
    """Lets in whoever brings a token for it, as Cloud Run does."""

    def respond(self) -> None:
        """Answer, or say as Cloud Run does that the caller is not allowed."""
        self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers["Authorization"] or ""
        if header and claims_of(header)["aud"] == f"http://{self.headers['Host']}":
            self.answer(200, json.dumps(ANSWER).encode(), Content_Type="application/json")
        else:
            self.answer(403, b"<h1>Error: Forbidden</h1>", Content_Type="text/html")


@pytest.fixture(scope="module")
def private_backend() -> Iterator[str]:
    """Return the address of a backend that is not public."""
    with served(PrivateBackend) as url:
        yield url


def test_with_an_id_token_the_page_may_call_its_backend(
    frontend: Callable[..., str],
    open_page: Callable[..., Page],
    private_backend: str,
) -> None:
    with metadata_server() as metadata:
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
