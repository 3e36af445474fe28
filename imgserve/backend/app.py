"""The three versions' applications, put together.

Flask and what needs it are imported inside these functions: a service makes its pool first, and
while a worker loads the model, Flask is imported here.
"""

from typing import TYPE_CHECKING

from imgserve.models.pool import WorkerPool
from imgserve.settings import BackendSettings

if TYPE_CHECKING:
    from flask import Flask


def one_model_app(settings: BackendSettings, pool: WorkerPool) -> "Flask":
    """Return v1: ``/predict`` answers with the one model."""
    from imgserve.backend import routes

    backend = routes.Backend(settings, pool)
    routes.add_predict(backend)
    return backend.app


def many_models_app(settings: BackendSettings, pool: WorkerPool) -> "Flask":
    """Return v2: the path names the model, else the body, else the caller's cookie."""
    from imgserve.backend import routes

    backend = routes.Backend(settings, pool)
    routes.add_models(backend)
    routes.add_choice(backend)
    return backend.app


def model_by_path_app(settings: BackendSettings, pool: WorkerPool) -> "Flask":
    """Return v3: as v1, but the model is named in the path, for a gateway to route by."""
    from imgserve.backend import routes

    backend = routes.Backend(settings, pool)
    routes.add_models(backend)
    routes.add_predict_by_path(backend)
    return backend.app
