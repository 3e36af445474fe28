"""``make run``: run a version's services on this machine until told to stop."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from imgserve import contract
from imgserve.errors import ImgserveError
from imgserve.machine import cpu_quota
from imgserve.models import catalogue
from imgserve.models.catalogue import EMBEDDED
from imgserve.settings import BackendSettings
from imgserve.settings.parsers import Settings, one_of, setting, whole, words
from tools.process import GATEWAY, GUNICORN, LOOPBACK, ROOT, is_free
from tools.supervisor import Service, say, supervise
from v3.gateway.serve import find_nginx

SAMPLE = ROOT / "imgserve" / "samples" / "cat.jpg"
Environ = Mapping[str, str]


@dataclass(frozen=True)
class RunSettings(Settings):
    """What ``make run`` can be told, beside the services' own settings."""

    version: str = setting("v1", one_of("v1", "v2", "v3"), "which backend and frontend to run")
    models: tuple[str, ...] = setting(
        EMBEDDED,
        words,
        "the models to choose from, the default first (v2, and v3: one backend each)",
        shown=f"`{','.join(EMBEDDED)}`",
    )
    backend_port: int = setting(
        8000, whole(1, 65535), "the backend's port; in v3 the first one's, the next has the next"
    )
    gateway_port: int = setting(8080, whole(1, 65535), "the gateway's port (v3)")
    frontend_port: int = setting(8501, whole(1, 65535), "the page's port")


def port_complaint(settings: RunSettings) -> str:
    """Return which port cannot be used, and why; nothing where all can."""
    wanted = {"BACKEND_PORT": settings.backend_port, "FRONTEND_PORT": settings.frontend_port}
    if settings.version == "v3":
        for number in range(1, len(settings.models)):
            wanted[f"BACKEND_PORT + {number}"] = settings.backend_port + number
        wanted["GATEWAY_PORT"] = settings.gateway_port
    wanted_by: dict[int, str] = {}
    for variable, port in wanted.items():
        if port in wanted_by:
            return f"{wanted_by[port]} and {variable} are both {port}: choose two"
        if not is_free(port):
            return f"Port {port} is taken: stop what uses it, or set another {variable}"
        wanted_by[port] = variable
    return ""


def services(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return the services of a version; ``environ`` is passed on to each."""
    if settings.version == "v3":
        return _with_gateway(settings, environ)
    own = {"MODEL_NAME": environ.get("MODEL_NAME") or EMBEDDED[0]}
    if settings.version == "v2":
        own = {"MODELS": ",".join(settings.models)}
    command = (*GUNICORN, f"backend_{settings.version}.app:app")
    backend = _service("backend", settings.backend_port, {**environ, **own}, command)
    return [backend, _page(settings, {**environ, "SERVING_URL": url(settings.backend_port)})]


def _with_gateway(settings: RunSettings, environ: Environ) -> list[Service]:
    """Return v3's backends, their gateway and its page.

    Each backend is made for a container of its own; here they share the CPUs. Were each to take
    all, a comparison of n models would have n times as many threads as there are CPUs.
    """
    share = max(1, cpu_quota() // len(settings.models))
    common = {"THREADS": str(share), **environ, "MODELS": ",".join(settings.models)}
    ports = dict(enumerate(settings.models, start=settings.backend_port))
    command = (*GUNICORN, "v3.backend.app:app")
    backends = [
        _service(model, port, {**common, "MODEL_NAME": model}, command)
        for port, model in ports.items()
    ]
    own = {"BACKENDS": ",".join(f"{model}={url(port)}" for port, model in ports.items())}
    own["API_KEY"] = ""  # the page sends none, and the variable may be meant for something else
    gateway = _service("gateway", settings.gateway_port, {**environ, **own}, GATEWAY)
    page = _page(settings, {**environ, "API_GATEWAY": url(settings.gateway_port)})
    return [*backends, gateway, page]


def _page(settings: RunSettings, environ: Environ) -> Service:
    model = environ.get("MODEL_NAME") if settings.version == "v1" else settings.models[0]
    models_file = BackendSettings.from_environ(environ).models_file
    if model and (samples := catalogue.entry(model, models_file).samples):
        environ = {"SAMPLES_DIR": samples, **environ}
    folder = "v3/frontend" if settings.version == "v3" else f"frontend_{settings.version}"
    command = (sys.executable, "-m", "imgserve.frontend", f"{folder}/app.py")
    return _service("frontend", settings.frontend_port, environ, command, "/_stcore/health")


def _service(
    name: str, port: int, environ: Environ, command: tuple[str, ...], ready: str = contract.READY
) -> Service:
    environ = {**environ, "HOST": LOOPBACK, "PORT": str(port)}
    return Service(name, command, environ, url(port) + ready)


def url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def announcement(settings: RunSettings) -> str:
    """Return where the page is, and a command that sends the default model a picture."""
    asked = url(settings.backend_port) + contract.PREDICT
    lines = [f"  page     {url(settings.frontend_port)}"]
    if settings.version == "v3":
        asked = url(settings.gateway_port) + contract.MODEL_PREDICT.format(model=settings.models[0])
        lines.append(f"  gateway  {url(settings.gateway_port)}{contract.MODELS}")
    lines.append(f"  curl     curl -F {shlex.quote(f'{contract.IMAGE_FIELD}=@{SAMPLE}')} {asked}")
    return "\n".join([*lines, "Ctrl-C stops everything.\n"])


def main(environ: Environ) -> int:
    """Check what was asked for, then run it; return the exit status."""
    try:
        settings = RunSettings.from_environ(environ)
        models_file = BackendSettings.from_environ(environ).models_file
        for model in settings.models:
            catalogue.entry(model, models_file)
        if settings.version == "v3":
            find_nginx(environ.get("PATH", ""))
        started = services(settings, environ)
    except ImgserveError as exc:
        say(str(exc))
        return 2
    if complaint := port_complaint(settings):
        say(complaint)
        return 2
    return supervise(started, announcement(settings))


if __name__ == "__main__":
    sys.exit(main(os.environ))
