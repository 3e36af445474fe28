"""The server that only our own nginx asks: who may come in, and the metadata of an account."""

import threading
from collections.abc import Callable, Collection

from flask import Blueprint, Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from tools.rehearsal.answers import ApiError
from tools.rehearsal.run import metadata
from tools.rehearsal.run.gate import UNAUTHORIZED, decision
from tools.rehearsal.store import Store

REFUSAL = 'Bearer error="invalid_token", error_description="The token could not be verified"'


class Quiet(WSGIRequestHandler):
    """Requests that leave no line: nginx logs those of which they are a part."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


class Inside:
    """A server on loopback, in a thread of this process."""

    def __init__(
        self, store: Store, port: int, audiences: Callable[[str], Collection[str]]
    ) -> None:
        app = inside_app(store, audiences)
        self._server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def inside_app(store: Store, audiences: Callable[[str], Collection[str]]) -> Flask:
    """Return the app.

    Args:
        store: the documents.
        audiences: the addresses of a service, by its key.
    """
    app = Flask("rehearsal-inside")
    app.register_error_handler(ApiError, lambda refused: (refused.message, refused.code))
    app.register_blueprint(metadata.blueprint(store.folder.parent))
    app.register_blueprint(_gate(store, audiences))
    return app


def _gate(store: Store, audiences: Callable[[str], Collection[str]]) -> Blueprint:
    views = Blueprint("gate", __name__)

    @views.get("/gate/<path:key>")
    def gate(key: str) -> Response:
        answer = Response(status=decision(store, key, request.headers, audiences(key)))
        if answer.status_code == UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = REFUSAL
        return answer

    return views
