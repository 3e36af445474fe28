"""Begin a backend, or end it with one clear sentence."""

import sys
from collections.abc import Mapping

from imgserve.errors import ImgserveError, InvalidSetting
from imgserve.models import catalogue
from imgserve.models.loading import facts
from imgserve.settings import BackendSettings

# gunicorn restarts a worker that ends with any other status (gunicorn/arbiter.py).
WORKER_BOOT_ERROR = 3


def settings_or_exit(
    environ: Mapping[str, str], *required: str, has_models: bool = True
) -> BackendSettings:
    """Return the settings of this environment.

    Args:
        environ: the environment.
        required: names of variables that have no default in this service.
        has_models: whether this container has all of MODELS, or may be one of many.

    Raises:
        SystemExit: one cannot be used; standard error names it and says what to do.
    """
    try:
        settings = BackendSettings.from_environ(environ)
        _require(environ, required, settings)
        _check_models(settings, has_models=has_models and "MODEL_NAME" not in required)
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


def _require(
    environ: Mapping[str, str], required: tuple[str, ...], settings: BackendSettings
) -> None:
    known = ", ".join(catalogue.catalogue(settings.models_file))
    for name in required:
        if not environ.get(name):
            raise InvalidSetting(
                f"{name} is not set: this service has no default for it; "
                f"for a model, choose one of {known}"
            )
