"""What a service begins with: its settings, or one clear sentence; then one of three applications.

Flask and what needs it are imported inside these functions: a service makes its pool first, and
while a worker loads the model, Flask is imported here.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from imgserve.errors import ImgserveError, InvalidSetting
from imgserve.models import catalogue
from imgserve.models.compiled_model import facts
from imgserve.models.pool import WorkerPool
from imgserve.settings import BackendSettings

if TYPE_CHECKING:
    from flask import Flask

# gunicorn restarts a worker that ends with any other status (gunicorn/arbiter.py).
WORKER_BOOT_ERROR = 3


def settings_or_exit(
    environ: Mapping[str, str], *, has_models: bool = True, needs_model: bool = False
) -> BackendSettings:
    """Return the settings of this environment.

    Args:
        environ: the environment.
        has_models: whether this container has all of MODELS, or may be one of many.
        needs_model: whether this service has no default for MODEL_NAME.

    Raises:
        SystemExit: one cannot be used; standard error names it and says what to do.
    """
    try:
        settings = BackendSettings.from_environ(environ)
        if needs_model and not settings.model_name:
            known = ", ".join(catalogue.catalogue(settings.models_file))
            raise InvalidSetting(
                "MODEL_NAME is not set: this service has no default for it; "
                f"for a model, choose one of {known}"
            )
        _check_models(settings, has_models=has_models)
    except ImgserveError as exc:
        sys.stderr.write(f"imgserve cannot start: {exc}\n")
        sys.exit(WORKER_BOOT_ERROR)
    return settings


def _check_models(settings: BackendSettings, *, has_models: bool) -> None:
    """Refuse models that there are not; of those in other containers only names are known."""
    for model_id in settings.models:
        if not catalogue.NAME.fullmatch(model_id):
            raise InvalidSetting(
                f"MODELS has {model_id!r}: a model's name has {catalogue.NAME_IN_WORDS}"
            )
    for model_id in (settings.model_name, *(settings.models if has_models else ())):
        if model_id:
            facts(settings, model_id)
    if settings.models and settings.model_name and settings.model_name not in settings.models:
        raise InvalidSetting(
            f"MODEL_NAME={settings.model_name!r} is none of MODELS={','.join(settings.models)!r}: "
            "add it, or leave one unset"
        )


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
