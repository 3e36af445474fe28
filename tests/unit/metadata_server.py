"""A metadata server on a loopback address that gives unsigned ID tokens."""

import base64
import http.server
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def token(**claims: Any) -> str:
    """Return a token with these claims that nobody signed."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b""))


def claims_of(header: str) -> Any:
    """Return what the token of an ``Authorization`` header says."""
    scheme, _, given = header.partition(" ")
    assert scheme == "Bearer"
    payload = given.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class MetadataServer:
    """The part of a metadata server that gives ID tokens.

    Attributes:
        audiences: of every token that was asked for.
        lifetime_s: of the tokens from now on.
        delay_s: before each answer.
        status: of each answer.
        instead: answered in the place of a token, if not empty.
    """

    def __init__(self) -> None:
        self.audiences: list[str] = []
        self.lifetime_s = 3600.0
        self.delay_s = 0.0
        self.status = 200
        self.instead = ""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, flavor: str | None) -> tuple[int, str]:
        """Return the status and body for a request."""
        url = urlsplit(path)
        if url.path != PATH or flavor != "Google":
            return 403, "not as a metadata server is asked"
        query = parse_qs(url.query)
        assert query["format"] == ["full"]
        self.audiences += query["audience"]
        time.sleep(self.delay_s)
        number, expires = len(self.audiences), int(time.time() + self.lifetime_s)
        return self.status, self.instead or token(aud=query["audience"][0], exp=expires, jti=number)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(self.path, self.headers["Metadata-Flavor"])
                self.send_response(status)
                self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
