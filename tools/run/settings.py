"""What ``make run`` can be told, and whether its ports are free."""

from dataclasses import dataclass

from imgserve.settings.parsers import Settings, one_of, setting, whole, words
from tools.process import LOOPBACK, is_free

# Those whose trained weights are Python packages: they need no download.
EMBEDDED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


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

    @property
    def has_gateway(self) -> bool:
        """Return whether the version has a backend for each model, and a gateway before them."""
        return self.version == "v3"


def port_complaint(settings: RunSettings) -> str:
    """Return which port cannot be used, and why; nothing where all can."""
    wanted = {"BACKEND_PORT": settings.backend_port, "FRONTEND_PORT": settings.frontend_port}
    if settings.has_gateway:
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


def url(port: int) -> str:
    """Return the address of a service on this machine."""
    return f"http://{LOOPBACK}:{port}"
