"""The server of a page: Streamlit's own, with what that leaves to a proxy that may not be there.

Streamlit sends its files uncompressed, 2.8 MB before anything is seen: to compress them for each
visitor anew would cost more than it saves. Here each is compressed once.
"""

import gzip
import re
import signal
import sys
from functools import partialmethod
from html import escape
from pathlib import Path
from typing import Any

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.starlette import App

from imgserve.frontend.messages import DESCRIPTION
from imgserve.settings import FrontendSettings

ROOT = "/"
STATIC = "/static/"  # their names change with their content, and there are about a hundred
LEAST_BYTES = 1000
# Longer than a load balancer keeps its idle connections: uvicorn's 5 s pass while a container has
# no CPU, and the request that wakes it is met by a connection that is being closed.
IDLE_S = 75
# Streamlit styles elements in place, shows pictures from memory, reads a photo as an address.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: "
    "wss: data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
STREAMLIT_TITLE = b"<title>Streamlit</title>"
# Its own icon, and a script in the page itself, which the policy above forbids.
NOT_OURS = re.compile(rb'<link rel="shortcut icon"[^>]*>|<script>[^<]*</script>')
# 0.4 MB that every visit would load, for icons that the page does without.
ICON_FONT = re.compile(rb"@font-face\{font-family:Material Symbols[^}]*\}")
OWN = ("/page.css", "/page.js", "/page.svg")
HEAD = """<title>{title}</title>
    <link rel="icon" href="./page.svg" />
    <link rel="stylesheet" href="./page.css" />
    <script type="module" src="./page.js"></script>
    <meta name="description" content="{description}" />
    <meta property="og:title" content="{title}" />
    <meta property="og:description" content="{description}" />
    <meta property="og:type" content="website" />"""


class PageServer:
    """Around Streamlit's application: files compressed once, the page's own head, and headers."""

    def __init__(self, app: ASGIApp, title: str) -> None:
        self._app = app
        self._head = HEAD.format(title=escape(title), description=escape(DESCRIPTION)).encode()
        self._kept: dict[str, tuple[Message, Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not _is_file(scope):
            await self._app(scope, receive, send_with_headers)
        else:
            for message in self._kept.get(scope["path"]) or await self._file(scope, receive):
                await send_with_headers(message)

    async def _file(self, scope: Scope, receive: Receive) -> tuple[Message, Message]:
        """Return a file's answer, compressed; keep it where it is one."""
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, collect)
        start, body = messages[0], b"".join(part.get("body", b"") for part in messages[1:])
        if scope["path"] == ROOT:
            body = NOT_OURS.sub(b"", body.replace(STREAMLIT_TITLE, self._head))
        elif scope["path"].endswith(".css"):
            body = ICON_FONT.sub(b"", body)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers.add_vary_header("Accept-Encoding")
        if len(body) >= LEAST_BYTES and "Content-Encoding" not in headers:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        found = {**start, "headers": headers.raw}, {"type": "http.response.body", "body": body}
        if start["status"] == 200:  # noqa: PLR2004
            self._kept[scope["path"]] = found
        return found


def _is_file(scope: Scope) -> bool:
    """Return whether a file is asked for, whole, by a browser that takes it compressed."""
    headers = Headers(scope=scope)
    is_there = scope["path"] in {ROOT, *OWN} or scope["path"].startswith(STATIC)
    in_part = {"range", "if-none-match", "if-modified-since"} & {*headers}
    takes_gzip = "gzip" in headers.get("accept-encoding", "")
    return scope["method"] == "GET" and is_there and takes_gzip and not in_part


def serve(script: str, settings: FrontendSettings) -> None:
    """Serve a page until stopped; the folder's ``.streamlit`` has the other options."""
    # uvicorn, which listens for Streamlit, raises the signal once more when it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Streamlit has no setting for it.
    keeping = partialmethod(uvicorn.Config.__init__, timeout_keep_alive=IDLE_S)
    uvicorn.Config.__init__ = keeping  # type: ignore[method-assign, assignment]
    listen: dict[str, Any] = {"server.address": settings.host, "server.port": settings.port}
    around = [Middleware(PageServer, title=settings.page_title)]
    own = [Route(path, _own_file) for path in OWN]
    App(Path(script).resolve(), routes=own, middleware=around).run(config=listen)


def _own_file(request: Request) -> FileResponse:
    path = Path(__file__).parent / request.url.path.strip("/")
    return FileResponse(path, headers={"Cache-Control": "no-cache"})
