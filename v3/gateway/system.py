"""What nginx needs from the system it runs on."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from imgserve.errors import ImgserveError, InvalidSetting
from v3.gateway.backends import bracketed
from v3.gateway.settings import ip_address

RESOLV_CONF = Path("/etc/resolv.conf")
# Debian and Alpine; Fedora; macOS and the BSDs.
AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
# Where Debian has it, which is not in everybody's PATH.
PROGRAM_FOLDERS = ("/usr/sbin",)


class NginxMissing(ImgserveError):
    """nginx is not installed."""


def find_nginx(path: str) -> str:
    """Return where the program is, looked for in ``path`` first, or NginxMissing."""
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
    found = []
    for words in lines:
        if len(words) > 1 and words[0] == "nameserver":
            with suppress(ValueError):  # an address that nginx cannot use
                found.append(bracketed(ip_address(words[1])))
    return tuple(found)


def authorities(given: Path | None) -> Path:
    """Return the file of the authorities to trust: the given one, else the system's."""
    candidates = AUTHORITIES if given is None else (given,)
    for file in candidates:
        if file.is_file():
            return file
    raise InvalidSetting(
        "the certificates of the authorities that https needs are not in "
        f"{' or '.join(map(str, candidates))}: install ca-certificates, or set SSL_CERT_FILE"
    )
