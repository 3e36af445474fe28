"""One server for all the hosts that gcloud asks: ``python -m tools.rehearsal.server``."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Flask
from werkzeug.serving import make_server

from tools.rehearsal.answers import answer_errors
from tools.rehearsal.apis import (
    artifactregistry,
    billing,
    cloudbuild,
    iam,
    logs,
    oauth,
    resourcemanager,
    secretmanager,
    serviceusage,
    storage,
)
from tools.rehearsal.apis.serviceusage import refuse_where_not_enabled
from tools.rehearsal.builds.runner import Runner
from tools.rehearsal.run import create_blueprint
from tools.rehearsal.state import NAME, State
from tools.rehearsal.store import documents
from tools.rehearsal.tunnel import handler

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

APIS = {
    "artifactregistry": artifactregistry.api,
    "cloudbilling": billing.api,
    "cloudbuild": cloudbuild.api,
    "cloudresourcemanager": resourcemanager.api,
    "iam": iam.api,
    "logging": logs.api,
    "oauth2": oauth.api,
    "secretmanager": secretmanager.api,
    "serviceusage": serviceusage.api,
    "storage": storage.api,
}


class ByHost:
    """A WSGI app that gives each request to the app of its host."""

    def __init__(self, apps: Mapping[str, Flask], other: Flask) -> None:
        self.apps = apps
        self.other = other

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        label = environ.get("HTTP_HOST", "").partition(".")[0]
        api = label.rpartition("-")[2]  # "us-central1-run" is Cloud Run of one region
        return self.apps.get(api, self.other).wsgi_app(environ, start_response)


def create_app(folder: Path, environ: Mapping[str, str]) -> Flask:
    """Return the app that answers every host; its state is under the folder."""
    store = documents(folder)
    for key in (oauth.operator_key, oauth.server_key):
        key(folder)
    state = State(folder, store, environ, Runner(folder, store, environ))
    blueprints = APIS | {"run": create_blueprint(store, environ)}
    apps = {name: _app(name, blueprint, state) for name, blueprint in blueprints.items()}
    app = Flask("rehearsal")
    answer_errors(app)
    app.extensions[NAME] = state
    app.wsgi_app = ByHost(apps, _app("rehearsal-other", logs.pages, state))  # type: ignore[method-assign]
    return app


def _app(name: str, blueprint: Blueprint, state: State) -> Flask:
    app = Flask(name)
    app.extensions[NAME] = state
    app.json.sort_keys = False  # type: ignore[attr-defined]
    answer_errors(app)
    app.before_request(refuse_where_not_enabled(name, state.store))
    app.register_blueprint(blueprint)
    return app


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Answer gcloud in place of Google Cloud.")
    parser.add_argument("--folder", type=Path, required=True, help="where its state is kept")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    serve(options.folder.resolve(), options.port)


def serve(folder: Path, port: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT, then end the builds under way."""
    app = create_app(folder, os.environ)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=handler(folder))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop.wait()
    server.shutdown()
    server.server_close()
    state: State = app.extensions[NAME]
    state.runner.stop()


if __name__ == "__main__":
    main()
