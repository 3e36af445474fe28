"""The addresses that pictures may be fetched from: URL, host address and port.

Microsoft's AntiSSRF enforces the rules about addresses: every address that a host name resolves to
must be allowed, and the connection goes to one of the addresses that were checked.
"""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import Final
from urllib.parse import urlsplit

from AntiSSRF import AntiSSRFPolicy, PolicyConfigOptions
from requests import PreparedRequest
from requests.exceptions import RequestException

from imgserve import __version__
from imgserve.contract import FORMATS
from imgserve.errors import InvalidUrl

# Practically every server and proxy accepts this; RFC 9110, 4.1 asks for at least 8000.
LIMIT_URL_CHARS: Final = 2048
PORTS: Final = (80, 443)

# All of IPv6 except 2000::/3, the only part assigned for public use (IANA, "Internet Protocol
# Version 6 Address Space"), and except IPv4 itself, which AntiSSRF holds as IPv4-mapped addresses.
# AntiSSRF 1.0.0 accepts most unassigned ranges, and other spellings of IPv4 addresses such as
# ::7f00:1 (RFC 4291, 2.5.5.1). This makes 96 ranges; checking an address takes 0.06 ms.
IPV4_MAPPED: Final = IPv6Network("::ffff:0:0/96")
NOT_PUBLIC: Final = (
    "4000::/2",
    "8000::/1",
    *map(str, IPv6Network("::/3").address_exclude(IPV4_MAPPED)),
    # AntiSSRF's list has it today; listed here so that a later version cannot drop it unnoticed.
    "168.63.129.16/32",  # Azure's host: Microsoft Learn, "What is IP address 168.63.129.16?"
)

# `identity`: a picture is compressed already, and no decompression bomb is decoded.
HEADERS: Final = {
    "User-Agent": f"imgserve/{__version__}",
    "Accept": ",".join(f"image/{name.lower()}" for name in FORMATS) + ",*/*;q=0.1",
    "Accept-Encoding": "identity",
}


def request_for(url: str) -> PreparedRequest:
    """Return the request for a picture's URL.

    The checks look at the URL as it will be sent, not at the text that came in, so no second
    parser can read a different host out of it.

    Raises:
        InvalidUrl: the URL is malformed, is not http or https, or holds a user name or password.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidUrl(
            "The picture's address must start with http:// or https://: paste the whole address."
        )
    request = PreparedRequest()
    try:
        request.prepare(method="GET", url=url, headers=HEADERS)
        parts = urlsplit(str(request.url))
    except (RequestException, ValueError) as exc:
        raise InvalidUrl("The picture's address is malformed: check it for typing errors.") from exc
    if "@" in parts.netloc:
        raise InvalidUrl(
            "The picture's address holds a user name or password, which is never sent: "
            "use an address that opens without one."
        )
    return request


class AddressRules:
    """Allows public addresses on the usual ports, and ``allowed`` addresses on any port."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Set the policy.

        Args:
            allowed: addresses or CIDR ranges that need not be public.
        """
        self.policy = AntiSSRFPolicy(PolicyConfigOptions.EXTERNAL_ONLY_LATEST)
        self.policy.add_denied_addresses(NOT_PUBLIC)
        self.policy.allow_plain_text_http = True
        if allowed:
            self.policy.add_allowed_addresses(allowed)
        # The policy holds IPv4 ranges as IPv4-mapped IPv6 ranges.
        self._allowed = [block.get_network() for block in self.policy.allowed_addresses]

    def check_port(self, address: str, port: int) -> None:
        """Refuse an unusual port, unless the address about to be connected to is allowed.

        Raises:
            InvalidUrl: neither the port nor the address is allowed.
        """
        if port not in PORTS and not self._is_allowed(address):
            raise InvalidUrl(
                f"The picture's address uses or redirects to port {port}: "
                "pictures are fetched from ports 80 and 443 only."
            )

    def _is_allowed(self, address: str) -> bool:
        found = ipaddress.ip_address(address)
        if isinstance(found, ipaddress.IPv4Address):
            found = ipaddress.IPv6Address(f"::ffff:{found}")
        return any(found in network for network in self._allowed)
