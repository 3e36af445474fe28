"""What a service begins with: its settings, or one clear sentence; then its application.

Flask and what needs it are imported inside ``make_app``: a service makes its pool first, and
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
    """Return the settings of this environment, or exit and say which cannot be used.

    A container that ``has_models`` has all of MODELS, else it may be one of many. A service that
    ``needs_model`` has no default for MODEL_NAME.
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


def make_app(
    settings: BackendSettings, pool: WorkerPool, *, has_choice: bool = False, by_path: bool = False
) -> "Flask":
    """Return v1, whose ``/predict`` answers with the pool's one model, or another version.

    v2 ``has_choice``: the path names the model, else the body, else the caller's cookie. v3 answers
    ``by_path``, as v1, but the path names the model, for a gateway to route by.
    """
    from imgserve.backend.routes import Backend

    return Backend(settings, pool, has_choice=has_choice, by_path=by_path).app
