"""The services of each version, as they run on this machine."""

import sys
from collections.abc import Mapping

from imgserve import contract
from imgserve.machine import cpu_quota
from imgserve.models import catalogue
from imgserve.settings import BackendSettings
from tools.process import LOOPBACK
from tools.run.settings import EMBEDDED, RunSettings, url
from tools.run.supervisor import Service

GUNICORN = ("gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
Environ = Mapping[str, str]


def services(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return the services of a version; ``environ`` is passed on to each."""
    if settings.has_gateway:
        return _with_gateway(settings, environ)
    own = {"MODEL_NAME": environ.get("MODEL_NAME") or EMBEDDED[0]}
    if settings.version == "v2":
        own = {"MODELS": ",".join(settings.models)}
    port, app = settings.backend_port, f"backend_{settings.version}.app:app"
    backend = _service("backend", port, {**environ, **own}, *GUNICORN, app)
    return [backend, _page(settings, {**environ, "SERVING_URL": url(port)})]


def _with_gateway(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return v3's backends, their gateway and its page.

    Each backend is made for a container of its own; here they share the CPUs. Were each to take
    all, a comparison of n models would have n times as many threads as there are CPUs.
    """
    share = max(1, cpu_quota() // len(settings.models))
    common = {"THREADS": str(share), **environ, "MODELS": ",".join(settings.models)}
    ports = dict(enumerate(settings.models, start=settings.backend_port))
    backends = [
        _service(model, port, {**common, "MODEL_NAME": model}, *GUNICORN, "v3.backend.app:app")
        for port, model in ports.items()
    ]
    own = {"BACKENDS": ",".join(f"{model}={url(port)}" for port, model in ports.items())}
    own["API_KEY"] = ""  # the page sends none, and the variable may be meant for something else
    port = settings.gateway_port
    gateway = _service("gateway", port, {**environ, **own}, "v3.gateway", "serve")
    return [*backends, gateway, _page(settings, {**environ, "API_GATEWAY": url(port)})]


def _page(settings: RunSettings, environ: Environ) -> Service:
    model = environ.get("MODEL_NAME") if settings.version == "v1" else settings.models[0]
    models_file = BackendSettings.from_environ(environ).models_file
    if model and (samples := catalogue.entry(model, models_file).samples):
        environ = {"SAMPLES_DIR": samples, **environ}
    folder = "v3/frontend" if settings.has_gateway else f"frontend_{settings.version}"
    command, port = ("imgserve.frontend", f"{folder}/app.py"), settings.frontend_port
    return _service("frontend", port, environ, *command, ready="/_stcore/health")


def _service(
    name: str, port: int, environ: Environ, *command: str, ready: str = contract.READY
) -> Service:
    environ = {**environ, "HOST": LOOPBACK, "PORT": str(port)}
    return Service(name, (sys.executable, "-m", *command), environ, url(port) + ready)
