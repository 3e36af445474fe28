"""The services of each version, as they run on this machine."""

import sys
from collections.abc import Mapping

from imgserve import contract
from imgserve.machine import cpu_quota
from imgserve.models.catalogue import choices
from tools.processes import Service
from tools.run.ports import LOOPBACK, url
from tools.run.settings import EMBEDDED, RunSettings

Environ = Mapping[str, str]


def services(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return the services of a version; ``environ`` is passed on to each."""
    if settings.has_gateway:
        backends = _backend_for_each_model(settings, environ)
        frontend = {**environ, "API_GATEWAY": url(settings.gateway_port)}
        return [*backends, _gateway(settings, environ), _frontend(settings, frontend)]
    named = environ.get("MODEL_NAME", "")
    if settings.version == "v2":
        models, told = choices(settings.models, named), {"MODELS": ",".join(settings.models)}
    else:
        models = (named or EMBEDDED[0],)
        told = {"MODEL_NAME": models[0]}
    package = f"backend_{settings.version}"
    backend = _backend(package, settings.backend_port, {**environ, **told}, models)
    frontend = {**environ, "SERVING_URL": url(settings.backend_port)}
    return [backend, _frontend(settings, frontend)]


def _backend(
    package: str, port: int, environ: Environ, models: tuple[str, ...], name: str = "backend"
) -> Service:
    return Service(
        name=name,
        command=(
            *(sys.executable, "-m", "gunicorn"),
            *("--config", "imgserve/backend/gunicorn.conf.py"),
            f"{package}.app:app",
        ),
        environ={**environ, "HOST": LOOPBACK, "PORT": str(port)},
        ready_url=url(port) + contract.READY,
        models=models,
    )


def _backend_for_each_model(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return v3's backends.

    Each is made for a container of its own; here they share the CPUs. Were each to take all, a
    comparison of n models would have n times as many threads as there are CPUs.
    """
    share = max(1, cpu_quota() // len(settings.models))
    common = {"THREADS": str(share), **environ, "MODELS": ",".join(settings.models)}
    ports = enumerate(settings.models, start=settings.backend_port)
    return [
        _backend("v3.backend", port, {**common, "MODEL_NAME": model}, (model,), model)
        for port, model in ports
    ]


def _gateway(settings: RunSettings, environ: Environ) -> Service:
    ports = enumerate(settings.models, start=settings.backend_port)
    backends = ",".join(f"{model}={url(port)}" for port, model in ports)
    # The page sends no key, and a variable of this name may be meant for something else.
    passed_on = {name: value for name, value in environ.items() if name != "API_KEY"}
    address = {"HOST": LOOPBACK, "PORT": str(settings.gateway_port)}
    return Service(
        name="gateway",
        command=(sys.executable, "-m", "v3.gateway", "serve"),
        environ={**passed_on, **address, "BACKENDS": backends},
        ready_url=url(settings.gateway_port) + contract.READY,
    )


def _frontend(settings: RunSettings, environ: Environ) -> Service:
    folder = "v3/frontend" if settings.has_gateway else f"frontend_{settings.version}"
    address = {"HOST": LOOPBACK, "PORT": str(settings.frontend_port)}
    return Service(
        name="frontend",
        command=(sys.executable, "-m", "imgserve.frontend", f"{folder}/app.py"),
        environ={**environ, **address},
        ready_url=f"{url(settings.frontend_port)}/_stcore/health",
    )
