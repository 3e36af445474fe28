"""The server of a page: Streamlit's own, with what that leaves to a proxy that may not be there.

Streamlit sends its own files uncompressed, 2.8 MB before anything is seen: here each is compressed
once, as to do so for each visitor would cost more than it saves. All else it compresses itself.
"""

import gzip
import re
import signal
import sys
from functools import partialmethod
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from streamlit.starlette import App

from imgserve.frontend.messages import DESCRIPTION
from imgserve.settings import FrontendSettings

ROOT = "/"
STATIC = "/static/"  # their names change with their content, and there are about a hundred
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


class PageServer(BaseHTTPMiddleware):
    """Around Streamlit's application: files compressed once, the page's own head, and headers."""

    def __init__(self, app: ASGIApp, title: str) -> None:
        super().__init__(app)
        self._head = HEAD.format(title=escape(title), description=escape(DESCRIPTION)).encode()
        self._kept: dict[str, Response] = {}

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        path = request.scope["path"]
        # A file is kept as whoever takes it whole and compressed gets it.
        is_whole = not {"range", "if-none-match", "if-modified-since"} & {*request.headers}
        takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
        is_file = request.method == "GET" and (path == ROOT or path.startswith(STATIC))
        keeps = is_file and is_whole and takes_gzip
        response = self._kept.get(path) if keeps else None
        if response is None:
            response = await call_next(request)
            if keeps and response.status_code == HTTPStatus.OK:
                response = self._kept[path] = await self._compressed(path, response)
        response.headers.update(HEADERS)
        return response

    async def _compressed(self, path: str, response: Any) -> Response:
        body = b"".join([piece async for piece in response.body_iterator])
        if path == ROOT:
            body = NOT_OURS.sub(b"", body.replace(STREAMLIT_TITLE, self._head))
        elif path.endswith(".css"):
            body = ICON_FONT.sub(b"", body)
        headers = response.headers
        del headers["Content-Length"]
        headers["Content-Encoding"] = "gzip"
        headers.add_vary_header("Accept-Encoding")
        return Response(gzip.compress(body), headers=headers)


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
