"""The Flask application that all backends share; what it predicts with is added to it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec
from flask import Flask, Request, Response, request

from imgserve.backend.metrics import Metrics
from imgserve.backend.openapi import add_docs, documented
from imgserve.backend.prediction import Predictor, Using
from imgserve.backend.problems import answer_problems
from imgserve.backend.request import Asked, Form, asked
from imgserve.backend.telemetry import observe
from imgserve.contract import FORM_OVERHEAD_BYTES, HELLO, METRICS, REQUEST_ID_HEADER
from imgserve.settings import BackendSettings

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


class Body:
    """A request's body, whose faults are those of a connection that broke off.

    gunicorn's own errors, of a body in malformed pieces, are of no type that Flask knows.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes.

        Raises:
            OSError: the body breaks off, stalls, or is malformed.
        """
        try:
            return self._raw.read(size)
        except Exception as exc:
            raise OSError(f"the body cannot be read: {exc}") from exc


class PictureRequest(Request):
    """A request whose uploads stay in memory: they are small, and the disk may be read-only."""

    max_form_parts = 16

    def __init__(self, environ: "WSGIEnvironment", *args: Any, **kwargs: Any) -> None:
        environ["wsgi.input"] = cast(IO[bytes], Body(environ["wsgi.input"]))
        super().__init__(environ, *args, **kwargs)

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


@dataclass(frozen=True)
class Backend:
    """An application and what its routes need."""

    app: Flask
    settings: BackendSettings
    metrics: Metrics
    predictor: Predictor

    def predict(self, form: Form, choose: Callable[[Asked], Using]) -> Response:
        """Return the answer to the request at hand.

        Args:
            form: what the route takes.
            choose: returns the model to predict with, given what was asked.

        Raises:
            HttpError: of any kind but the routes' own.
        """
        with self.predictor.gate.admitted():
            wanted = asked(request, form, self.settings.max_image_bytes)
            answer = self.predictor.predict(wanted, choose(wanted))
        self.metrics.predicted(answer.model, answer.timings_ms)
        return json_answer(answer)


def create_backend(settings: BackendSettings) -> Backend:
    """Return a backend that says hello, counts, and describes itself."""
    app = Flask("imgserve", static_folder=None)
    app.request_class = PictureRequest
    app.url_map.strict_slashes = False  # /docs is answered as /docs/ is, without a redirect
    app.config["MAX_CONTENT_LENGTH"] = settings.max_image_bytes + FORM_OVERHEAD_BYTES
    metrics = Metrics()
    predictor = Predictor(settings)
    metrics.watch(predictor.gate)
    answer_problems(app, metrics, settings.max_image_bytes)
    observe(app, metrics, settings.google_cloud_project)
    _add_hello(app, metrics)
    add_docs(app)
    _allow_origins(app, settings.cors_origins)
    return Backend(app, settings, metrics, predictor)


def json_answer(value: object) -> Response:
    """Return a value of the contract as an answer."""
    return Response(msgspec.json.encode(value), content_type="application/json")


def _add_hello(app: Flask, metrics: Metrics) -> None:
    @app.get(HELLO)
    @documented({200: "Alive; says nothing about the model."})
    def hello() -> Response:
        """Say hello."""
        return json_answer("Hello!")

    @app.get(METRICS)
    @documented({200: "Metrics in Prometheus' text format."})
    def show_metrics() -> Response:
        """Show what was counted."""
        return metrics.page()


def _allow_origins(app: Flask, origins: tuple[str, ...]) -> None:
    if origins:
        from flask_cors import CORS  # here: few backends need it, all would wait for its import

        CORS(app, origins=list(origins), expose_headers=[REQUEST_ID_HEADER])
