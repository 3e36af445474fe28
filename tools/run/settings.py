"""What ``make run`` can be told, and whether its ports are free."""

import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import chain

from imgserve.models.catalogue import CATALOGUE
from imgserve.settings import BackendSettings, FrontendSettings, Settings, setting
from imgserve.settings.parsers import one_of, whole, words
from v3.gateway.settings import GatewaySettings

LOOPBACK = "127.0.0.1"
HIGHEST = 65535
# Those whose trained weights are Python packages: they need no download.
EMBEDDED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def known_models(text: str) -> tuple[str, ...]:
    models = words(text)
    if not set(models) <= set(CATALOGUE):
        raise ValueError
    return models


known_models.__doc__ = f"models separated by commas, of {', '.join(CATALOGUE)}"


@dataclass(frozen=True)
class RunSettings(Settings):
    """What ``make run`` can be told, beside the services' own settings."""

    version: str = setting("v1", one_of("v1", "v2", "v3"), "which backend and frontend to run")
    models: tuple[str, ...] = setting(
        EMBEDDED,
        known_models,
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

    @property
    def ports(self) -> dict[str, range]:
        """Return each variable that sets ports, with the ports in a row that it sets."""
        counts = {"BACKEND_PORT": 1, "FRONTEND_PORT": 1}
        if self.has_gateway:
            counts = {"BACKEND_PORT": len(self.models), "GATEWAY_PORT": 1, "FRONTEND_PORT": 1}
        firsts = {name: getattr(self, name.lower()) for name in counts}
        return {name: range(first, first + counts[name]) for name, first in firsts.items()}


# Not repeated in a command: what the run sets for its services itself, secrets, and what other
# programs read too, which is set for all of them and stays so.
NOT_REPEATED = frozenset(
    {"HOST", "PORT", "SERVING_HOST", "SERVING_PORT", "SERVING_URL", "API_GATEWAY", "BACKENDS"}
    | {"API_KEY", "SECRET_KEY"}
    | {"GOOGLE_CLOUD_PROJECT", "SSL_CERT_FILE"}
)
TABLES = (RunSettings, BackendSettings, GatewaySettings, FrontendSettings)
VARIABLES = dict.fromkeys(field.name.upper() for table in TABLES for field in fields(table))


def port_complaint(settings: RunSettings, environ: Mapping[str, str]) -> str:
    """Return which ports cannot be used, and what to run instead; nothing where all can.

    Args:
        settings: what was asked for.
        environ: the same as it was given.
    """
    if complaint := _overlap(settings.ports):
        return complaint
    taken = [port for ports in settings.ports.values() for port in ports if not is_free(port)]
    if not taken:
        return ""
    instead = _command(environ, _free_instead(settings.ports, taken))
    if len(taken) == 1:
        return f"Port {taken[0]} is taken. Stop what uses it, or choose another: {instead}"
    listed = ", ".join(map(str, taken))
    return f"Ports {listed} are taken. Stop what uses them, or choose others: {instead}"


def _overlap(wanted: Mapping[str, range]) -> str:
    wanted_by: dict[int, str] = {}
    for variable, ports in wanted.items():
        for number, port in enumerate(ports):
            name = f"{variable} + {number}" if number else variable
            if port > HIGHEST:
                return f"{name} is {port}, but the highest port is {HIGHEST}: choose a lower one"
            if port in wanted_by:
                return f"{wanted_by[port]} and {name} are both {port}: choose two"
            wanted_by[port] = name
    return ""


def _free_instead(wanted: Mapping[str, range], taken: list[int]) -> dict[str, str]:
    """Return free ports for the variables whose own are taken."""
    excluded = {port for ports in wanted.values() for port in ports}
    found: dict[str, str] = {}
    for variable, ports in wanted.items():
        if set(taken) & set(ports):
            first = next_free(ports.start, excluded, len(ports))
            excluded.update(range(first, first + len(ports)))
            found[variable] = str(first)
    return found


def _command(environ: Mapping[str, str], changes: Mapping[str, str]) -> str:
    """Return ``make run`` with the settings of this environment, some of them changed."""
    repeated = [name for name in VARIABLES if environ.get(name) and name not in NOT_REPEATED]
    values = {**{name: environ[name] for name in repeated}, **changes}
    return shlex.join(["make", "run", *(f"{name}={value}" for name, value in values.items())])


def next_free(port: int, excluded: set[int], count: int = 1) -> int:
    """Return the first of ``count`` free ports in a row, above ``port`` if there are any.

    Raises:
        OSError: there are none that are not excluded.
    """
    last = HIGHEST + 1 - count
    for first in chain(range(port + 1, last + 1), range(1024, port)):
        row = range(first, first + count)
        if excluded.isdisjoint(row) and all(map(is_free, row)):
            return first
    raise OSError(f"this machine has no {count} free ports in a row")


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this machine, nor holds it."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:  # macOS would listen beside 0.0.0.0
            return False
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


def url(port: int) -> str:
    """Return the address of a service on this machine."""
    return f"http://{LOOPBACK}:{port}"
