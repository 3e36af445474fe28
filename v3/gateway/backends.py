"""The one list of models and their backends."""

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from imgserve.errors import InvalidSetting
from imgserve.models.catalogue import NAME, NAME_IN_WORDS
from imgserve.settings.parsers import whole

# Scheme, host and port, nothing else: what ends up in a configuration holds no other character.
# Underscores are no part of host names, but container networks have them.
ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
parse_port = whole(1, 65535)
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Backend:
    """Where a model is served."""

    model: str
    scheme: str
    host: str  # a name or an IP address, version 6 without brackets
    port: int

    @property
    def authority(self) -> str:
        """Return what the ``Host`` header says: the port only where it is not the usual one."""
        host = bracketed(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the root address, without a slash at its end."""
        return f"{self.scheme}://{self.authority}"

    @property
    def needs_look_up(self) -> bool:
        """Return whether a name server is asked for the host.

        None is for names of this machine (RFC 6761, 6.3).
        """
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host != "localhost"
        return False


def bracketed(host: str) -> str:
    """Return a host as addresses write it."""
    return f"[{host}]" if ":" in host else host


def read_backends(path: Path, given: str) -> tuple[Backend, ...]:
    """Return the backends, the default first; InvalidSetting where an entry cannot be used.

    The variable ``BACKENDS``, where ``given`` is not empty, is the whole list; else the file is.
    """
    pairs = _pairs(given) if given.strip() else _file(path)
    models: dict[str, Backend] = {}
    urls: dict[str, str] = {}
    for model, url in pairs:
        backend = _backend(model, url)
        if model in models:
            raise InvalidSetting(f"BACKENDS names {model} twice: each model has one backend")
        if backend.url in urls:
            twins = f"{urls[backend.url]} and {model}"
            raise InvalidSetting(f"{twins} have one backend, {backend.url}: each needs its own")
        models[model], urls[backend.url] = backend, model
    if not models:
        raise InvalidSetting("there is no backend: BACKENDS takes MODEL=URL, separated by commas")
    return tuple(models.values())


def _pairs(text: str) -> list[tuple[str, str]]:
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if wrong := [entry for entry in entries if "=" not in entry]:
        raise InvalidSetting(f"BACKENDS has {wrong[0]!r}: each entry is MODEL=URL")
    split = (entry.partition("=") for entry in entries)
    return [(model.strip(), url.strip()) for model, _, url in split]


def _file(path: Path) -> list[tuple[str, str]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("backends", {})
    except (OSError, ValueError) as exc:
        raise InvalidSetting(f"the list of backends {path} cannot be read: {exc}") from exc
    if not isinstance(table, dict) or not all(isinstance(url, str) for url in table.values()):
        raise InvalidSetting(f"{path} needs a table [backends] of lines like: resnet152 = 'URL'")
    return list(table.items())


def _backend(model: str, url: str) -> Backend:
    if not NAME.fullmatch(model):
        raise InvalidSetting(
            f"the list of backends is wrong: a model's name has {NAME_IN_WORDS}, not {model!r}"
        )
    if not url:
        raise InvalidSetting(f"the address of {model}'s backend is not known: say it in BACKENDS")
    match = ADDRESS.fullmatch(url)
    if not match or not _valid(match):
        raise InvalidSetting(
            f"{model}'s backend {url!r} cannot be used: an address is http://HOST, https://HOST "
            "or either with :PORT, and nothing after it"
        )
    scheme, host = match["scheme"].lower(), match["host"].lower().strip("[]")
    return Backend(model, scheme, host, int(match["port"] or DEFAULT_PORTS[scheme]))


def _valid(match: re.Match[str]) -> bool:
    """Return whether port and host can exist."""
    try:
        parse_port(match["port"] or "1")
        if match["host"].startswith("["):
            ipaddress.IPv6Address(match["host"].strip("[]"))
    except ValueError:
        return False
    return ".." not in match["host"]
