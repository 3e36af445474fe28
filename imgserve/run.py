"""Run a backend and its frontend on this machine until told to stop: ``make run``."""

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgserve import contract
from imgserve.errors import InvalidSetting
from imgserve.parsers import one_of, whole
from imgserve.processes import Service, say, supervise
from imgserve.settings import Settings, setting

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "imgserve" / "samples" / "cat.jpg"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RunSettings(Settings):
    """What ``make run`` can be told, beside the services' own settings."""

    version: str = setting("v1", one_of("v1"), "which backend and frontend to run")
    backend_port: int = setting(8000, whole(1, 65535), "the backend's port")
    frontend_port: int = setting(8501, whole(1, 65535), "the page's port")


def services(settings: RunSettings, environ: Mapping[str, str]) -> tuple[Service, Service]:
    """Return the backend and the frontend; ``environ`` is passed on to both."""
    backend_url = f"http://{LOOPBACK}:{settings.backend_port}"
    backend = Service(
        "backend",
        (
            *(sys.executable, "-m", "gunicorn"),
            *("--config", "imgserve/service/gunicorn.conf.py"),
            f"backend_{settings.version}.app:app",
        ),
        {
            "MODEL_NAME": "efficientnet_lite0",
            **environ,
            "HOST": LOOPBACK,
            "PORT": str(settings.backend_port),
        },
        backend_url + contract.READY,
    )
    frontend = Service(
        "frontend",
        (
            *(sys.executable, "-m", "streamlit", "run", f"frontend_{settings.version}/app.py"),
            *("--server.address", LOOPBACK),
            *("--server.port", str(settings.frontend_port)),
            *("--server.headless", "true"),
            *("--browser.gatherUsageStats", "false"),
        ),
        {**environ, "SERVING_URL": backend_url},
        f"http://{LOOPBACK}:{settings.frontend_port}/_stcore/health",
    )
    return backend, frontend


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def port_complaints(settings: RunSettings) -> list[str]:
    """Return a sentence for each port that cannot be had, with a port that can."""
    ports = {"BACKEND_PORT": settings.backend_port, "FRONTEND_PORT": settings.frontend_port}
    if settings.backend_port == settings.frontend_port:
        return [f"BACKEND_PORT and FRONTEND_PORT are both {settings.backend_port}: choose two"]
    return [
        f"Port {port} is taken. Stop what uses it, or choose another: "
        f"make run {name}={next_free(port, set(ports.values()))}"
        for name, port in ports.items()
        if not is_free(port)
    ]


def next_free(port: int, excluded: set[int]) -> int:
    """Return a free port, the next above ``port`` if there is one."""
    above = (each for each in range(port + 1, 65536) if each not in excluded and is_free(each))
    return next(above, 0) or next(each for each in range(1024, port) if is_free(each))


def main(environ: Mapping[str, str]) -> int:
    """Check what was asked for, then run it; return the exit status."""
    try:
        settings = RunSettings.from_environ(environ)
    except InvalidSetting as exc:
        say(str(exc))
        return 2
    if complaints := port_complaints(settings):
        say("\n".join(complaints))
        return 2
    backend_url = f"http://{LOOPBACK}:{settings.backend_port}"
    upload = shlex.quote(f"{contract.IMAGE_FIELD}=@{SAMPLE}")
    announcement = (
        f"  page  http://{LOOPBACK}:{settings.frontend_port}\n"
        f"  curl  curl -F {upload} {backend_url}{contract.PREDICT}\n"
        "Ctrl-C stops both.\n"
    )
    return supervise(services(settings, environ), ROOT, announcement)


if __name__ == "__main__":
    sys.exit(main(os.environ))
