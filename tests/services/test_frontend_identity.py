"""A page whose backend is not public: Chromium, Streamlit, and a metadata server's stand-in."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.servers import Quiet, served
from tests.services.browser import OpenPage
from tests.unit.metadata_server import claims_of, metadata_server

ANSWER = b'{"category": "tabby"}'


class PrivateBackend(Quiet):
    """Lets in whoever brings a token for it, as Cloud Run does."""

    def respond(self) -> None:
        """Answer, or say as Cloud Run does that the caller is not allowed."""
        self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers["Authorization"] or ""
        if header and claims_of(header)["aud"] == f"http://{self.headers['Host']}":
            self.answer(200, ANSWER, Content_Type="application/json")
        else:
            self.answer(403, b"<h1>Error: Forbidden</h1>", Content_Type="text/html")


def asked(page: Page) -> Page:
    page.get_by_role("button", name="Cat", exact=True).click()
    return page


def test_with_an_id_token_the_page_may_call_its_backend_and_without_one_says_that_it_may_not(
    frontend: Callable[..., str], open_page: OpenPage
) -> None:
    with served(PrivateBackend) as backend, metadata_server() as metadata:
        url = frontend(backend, SERVING_AUTH="id-token", GCE_METADATA_HOST=metadata.host)
        for _ in range(2):  # two people
            heading = asked(open_page(url)).get_by_role("heading", name="an image of a tabby")
            expect(heading).to_be_visible()
        assert metadata.audiences == [backend]
        alert = asked(open_page(frontend(backend))).get_by_role("alert")
        expect(alert).to_contain_text("This page may not call its classifier.")
        expect(alert).not_to_contain_text("403")
