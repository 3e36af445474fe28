"""What nginx needs from the system it runs on."""

import ipaddress
import os
import shutil
from pathlib import Path

from imgserve.errors import ImgserveError, InvalidSetting

RESOLV_CONF = Path("/etc/resolv.conf")
# Debian and Alpine; Fedora; macOS and the BSDs.
AUTHORITIES = tuple(
    map(
        Path,
        (
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/cert.pem",
        ),
    )
)
# Where Debian has it, which is not in everybody's PATH.
PROGRAM_FOLDERS = ("/usr/sbin",)


class NginxMissing(ImgserveError):
    """nginx is not installed."""


def find_nginx(path: str) -> str:
    """Return where the program is.

    Args:
        path: folders to look into first, as ``PATH`` has them.

    Raises:
        NginxMissing: it is not installed; the message says how to install it.
    """
    found = shutil.which("nginx", path=os.pathsep.join((path, *PROGRAM_FOLDERS)))
    if not found:
        raise NginxMissing(
            "the gateway is nginx, which is not installed: "
            "apt-get install nginx (Debian, Ubuntu) or brew install nginx (macOS)"
        )
    return found


def system_name_servers(resolv_conf: Path = RESOLV_CONF) -> tuple[str, ...]:
    """Return the system's name servers as nginx writes them; none where none can be found."""
    try:
        lines = [line.split() for line in resolv_conf.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return ()
    found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return tuple(address for text in found if (address := _as_nginx_writes(text)))


def _as_nginx_writes(text: str) -> str:
    """Return a name server's address; nothing for one that nginx cannot use."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return "" if address.scope_id else f"[{address}]"  # nginx knows no scopes
    return str(address)


def authorities(given: Path | None) -> Path:
    """Return the file with the certificates of the authorities to trust.

    Raises:
        InvalidSetting: there is none.
    """
    candidates = AUTHORITIES if given is None else (given,)
    for file in candidates:
        if file.is_file():
            return file
    raise InvalidSetting(
        "the certificates of the authorities that https needs are not in "
        f"{' or '.join(map(str, candidates))}: install ca-certificates, or set SSL_CERT_FILE"
    )
