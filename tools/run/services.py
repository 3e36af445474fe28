"""The services of each version, as they run on this machine."""

import sys
from collections.abc import Mapping

from imgserve import contract
from imgserve.machine import cpu_quota
from imgserve.models import catalogue
from imgserve.settings import BackendSettings
from tools.run.settings import EMBEDDED, LOOPBACK, RunSettings, url
from tools.run.supervisor import Service

Environ = Mapping[str, str]


def services(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return the services of a version; ``environ`` is passed on to each."""
    if settings.has_gateway:
        page = _frontend(settings, {**environ, "API_GATEWAY": url(settings.gateway_port)})
        return [*_backend_per_model(settings, environ), _gateway(settings, environ), page]
    choice = {"MODEL_NAME": environ.get("MODEL_NAME") or EMBEDDED[0]}
    if settings.version == "v2":
        choice = {"MODELS": ",".join(settings.models)}
    app = f"backend_{settings.version}.app:app"
    backend = _backend("backend", app, settings.backend_port, {**environ, **choice})
    return [backend, _frontend(settings, {**environ, "SERVING_URL": url(settings.backend_port)})]


def _backend(name: str, app: str, port: int, environ: Environ) -> Service:
    configuration = ("--config", "imgserve/backend/gunicorn.conf.py")
    return Service(
        name=name,
        command=(sys.executable, "-m", "gunicorn", *configuration, app),
        environ={**environ, "HOST": LOOPBACK, "PORT": str(port)},
        ready_url=url(port) + contract.READY,
    )


def _backend_per_model(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return v3's backends.

    Each is made for a container of its own; here they share the CPUs. Were each to take all, a
    comparison of n models would have n times as many threads as there are CPUs.
    """
    share = max(1, cpu_quota() // len(settings.models))
    common = {"THREADS": str(share), **environ, "MODELS": ",".join(settings.models)}
    return [
        _backend(model, "v3.backend.app:app", port, {**common, "MODEL_NAME": model})
        for port, model in enumerate(settings.models, start=settings.backend_port)
    ]


def _gateway(settings: RunSettings, environ: Environ) -> Service:
    ports = enumerate(settings.models, start=settings.backend_port)
    own = {"HOST": LOOPBACK, "PORT": str(settings.gateway_port)}
    own["BACKENDS"] = ",".join(f"{model}={url(port)}" for port, model in ports)
    own["API_KEY"] = ""  # the page sends none, and the variable may be meant for something else
    return Service(
        name="gateway",
        command=(sys.executable, "-m", "v3.gateway", "serve"),
        environ={**environ, **own},
        ready_url=url(settings.gateway_port) + contract.READY,
    )


def _frontend(settings: RunSettings, environ: Environ) -> Service:
    model = environ.get("MODEL_NAME") if settings.version == "v1" else settings.models[0]
    models_file = BackendSettings.from_environ(environ).models_file
    if model and (samples := catalogue.entry(model, models_file).samples):
        environ = {"SAMPLES_DIR": samples, **environ}
    folder = "v3/frontend" if settings.has_gateway else f"frontend_{settings.version}"
    return Service(
        name="frontend",
        command=(sys.executable, "-m", "imgserve.frontend", f"{folder}/app.py"),
        environ={**environ, "HOST": LOOPBACK, "PORT": str(settings.frontend_port)},
        ready_url=f"{url(settings.frontend_port)}/_stcore/health",
    )
