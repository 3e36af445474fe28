"""What the gateway can be told."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from imgserve.errors import InvalidSetting
from imgserve.settings import ALL_ADDRESSES, BackendSettings, FrontendSettings
from imgserve.settings.parsers import Settings, folder, seconds, setting, whole, word, words
from v3.gateway.backends import bracketed, parse_port

LIST = Path(__file__).with_name("backends.toml")
# The page must hear from the gateway which model is too slow, not give up before.
SOONER_THAN_THE_PAGE_S = 5.0
NAME_SERVER = re.compile(r"([0-9.]+|\[[^]]*\])(?::([0-9]+))?", re.ASCII)
API_KEY_LENGTHS = range(16, 257)


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


def project_id(text: str) -> str:
    """the id of a project"""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.:-]{0,62}", text, re.ASCII):
        raise ValueError
    return text


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
        FrontendSettings.serving_timeout_s - SOONER_THAN_THE_PAGE_S,
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
        key = self.api_key
        printable = all("!" <= character <= "~" for character in key)
        if key and not (printable and len(key) in API_KEY_LENGTHS):
            raise InvalidSetting(
                f"API_KEY cannot be used: it takes {API_KEY_LENGTHS.start} to "
                f"{API_KEY_LENGTHS.stop - 1} printable ASCII characters without spaces"
            )
