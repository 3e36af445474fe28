"""What the gateway can be told: its settings, and the one list of models and their backends."""

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from imgserve.errors import InvalidSetting
from imgserve.models.catalogue import NAME, NAME_IN_WORDS
from imgserve.settings import ALL_ADDRESSES, BackendSettings, FrontendSettings
from imgserve.settings.parsers import Settings, folder, parser, seconds, setting, whole, word, words

LIST = Path(__file__).with_name("backends.toml")
NAME_SERVER = re.compile(r"([0-9.]+|\[[^]]*\])(?::([0-9]+))?", re.ASCII)
# Scheme, host and port, nothing else: what ends up in a configuration holds no other character.
# Underscores are no part of host names, but container networks have them.
ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
DEFAULT_PORTS = {"http": 80, "https": 443}
parse_port = whole(1, 65535)
project_id = parser("the id of a project", str, re.compile("[a-z0-9][a-z0-9.:-]{0,62}").fullmatch)


def ip_address(text: str) -> str:
    """an IP address"""
    address = ipaddress.ip_address(text.strip())
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError  # nginx knows no scopes
    return str(address)


def name_servers(text: str) -> tuple[str, ...]:
    """IP addresses separated by commas, each with :PORT where that is not 53"""
    return tuple(_name_server(part) for part in words(text))


def _name_server(text: str) -> str:
    """Return a name server as nginx writes it: version 6 in brackets, with or without a port."""
    match = NAME_SERVER.fullmatch(text)
    host, port = (match[1].strip("[]"), match[2]) if match else (text, None)
    return bracketed(ip_address(host)) + (f":{parse_port(port)}" if port else "")


def bracketed(host: str) -> str:
    """Return a host as addresses write it."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class GatewaySettings(Settings):
    port: int = setting(8080, parse_port, "port to listen on; Cloud Run sets it")
    host: str = setting(ALL_ADDRESSES, ip_address, "address to listen on")
    backends: str = setting(
        "",
        word,
        "the models and their backends, `MODEL=URL` separated by commas, the default first",
        shown="`v3/gateway/backends.toml`",
    )
    resolver: tuple[str, ...] = setting(
        (),
        name_servers,
        "name servers that know the backends' names",
        shown="those of `/etc/resolv.conf`",
    )
    # Anything parses: a message about a value would show it.
    api_key: str = setting(
        "", word, "callers must send it as `X-API-Key`; 16 to 256 printable characters"
    )
    backend_timeout_s: float = setting(
        # The page must hear from the gateway which model is too slow, not give up before.
        FrontendSettings.serving_timeout_s - 5.0,
        seconds,
        "how long a backend may take to answer, its start included",
        unit="seconds",
    )
    max_image_bytes: int = setting(
        BackendSettings.max_image_bytes, whole(1), "largest picture passed on", unit="bytes"
    )
    ssl_cert_file: Path | None = setting(
        None,
        folder,
        "certificates of the authorities that backends' certificates come from",
        shown="the system's",
    )
    google_cloud_project: str = setting(
        "", project_id, "the project's id, so that logs name the request's trace in full"
    )

    def __post_init__(self) -> None:
        """Refuse a key that no caller could send, without showing it."""
        if self.api_key and not re.fullmatch("[!-~]{16,256}", self.api_key):
            raise InvalidSetting(
                "API_KEY cannot be used: it takes 16 to 256 printable ASCII characters "
                "without spaces"
            )


@dataclass(frozen=True)
class Backend:
    model: str
    scheme: str
    host: str  # a name or an IP address, version 6 without brackets
    port: int

    @property
    def authority(self) -> str:
        """Return what the ``Host`` header says: the port only where it is not the usual one."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return bracketed(self.host) + port

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def needs_look_up(self) -> bool:
        """Return whether a name server is asked for the host: not for localhost (RFC 6761, 6.3)."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host != "localhost"
        return False


def read_backends(path: Path, given: str) -> tuple[Backend, ...]:
    """Return the backends, the default first; InvalidSetting where an entry cannot be used.

    The variable ``BACKENDS``, where ``given`` is not empty, is the whole list; else the file is.
    """
    backends = [_backend(*pair) for pair in (_pairs(given) if given.strip() else _file(path))]
    for one, other in combinations(backends, 2):
        if one.model == other.model:
            raise InvalidSetting(f"BACKENDS names {one.model} twice: each model has one backend")
        if one.url == other.url:
            twins = f"{one.model} and {other.model}"
            raise InvalidSetting(f"{twins} have one backend, {one.url}: each needs its own")
    if not backends:
        raise InvalidSetting("there is no backend: BACKENDS takes MODEL=URL, separated by commas")
    return tuple(backends)


def _pairs(text: str) -> list[tuple[str, str]]:
    entries = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    for model, equals, _ in entries:
        if not equals:
            raise InvalidSetting(f"BACKENDS has {model.strip()!r}: each entry is MODEL=URL")
    return [(model.strip(), url.strip()) for model, _, url in entries]


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
    try:
        return Backend(model, *_address(url))
    except ValueError as exc:
        raise InvalidSetting(
            f"{model}'s backend {url!r} cannot be used: an address is http://HOST, https://HOST "
            "or either with :PORT, and nothing after it"
        ) from exc


def _address(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a root address; ValueError where there can be none such."""
    match = ADDRESS.fullmatch(url)
    if not match or ".." in url:
        raise ValueError(url)
    scheme, host = match["scheme"].lower(), match["host"].lower().strip("[]")
    if ":" in host:
        ipaddress.IPv6Address(host)
    return scheme, host, parse_port(match["port"] or str(DEFAULT_PORTS[scheme]))
