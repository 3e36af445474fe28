"""The addresses that strangers give: of what hosts and ports, or with the picture in them."""

import base64
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import chain, zip_longest
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from AntiSSRF.ipaddress_ranges import IPAddressRanges
from requests import PreparedRequest
from requests.exceptions import RequestException

from imgserve.errors import AddressNotAllowed, InvalidUrl, PictureHostRefused

LIMIT_URL_CHARS: Final = 8000  # RFC 9110, 4.1 asks for at least so many
PORTS: Final = (80, 443)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IPv4 addresses in IPv6's clothes: mapped (RFC 4291, 2.5.5.2), and translated for networks without
# IPv4 (NAT64, RFC 6052, 2.1), where each IPv4-only host has such an address.
WITH_IPV4_INSIDE: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
# Microsoft's list of what is not public, and all of IPv6 except 2000::/3, the only part assigned
# for public use (IANA, "Internet Protocol Version 6 Address Space"): the list lacks most unassigned
# ranges, and other spellings of IPv4 addresses such as ::7f00:1 (RFC 4291, 2.5.5.1).
NOT_PUBLIC: Final[tuple[Network, ...]] = (
    *map(ip_network, (*IPAddressRanges.recommended_latest, "::/3", "4000::/2", "8000::/1")),
    # In the list today; here so that a later version cannot drop it unnoticed: Azure's host
    # (Microsoft Learn, "What is IP address 168.63.129.16?").
    IPv4Network("168.63.129.16/32"),
)

# What people paste along: spaces and control characters, and what takes no room on the screen.
EDGES: Final = "".join(map(chr, range(33))) + "\x7f\xa0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
# Such as /home/cat.jpg, C:\cat.jpg, \\server\cat.jpg, ../cat.jpg and ~/cat.jpg.
PATH: Final = re.compile(r"/[^/]|\\|(?:[a-z]:|\.\.?|~)[/\\]", re.IGNORECASE)
WITHOUT_BREAKS: Final = str.maketrans("", "", "\t\n\r")


def cleaned(url: str) -> str:
    """Return an address as browsers read it (URL standard, 4.4).

    Tabs and line breaks go, and a backslash before the query is a slash. InvalidUrl says what it is
    where it is no web address.
    """
    url = url.strip(EDGES).translate(WITHOUT_BREAKS)
    scheme = url.partition(":")[0].lower()
    if scheme == "blob":
        raise InvalidUrl(
            "An address that begins with blob: works only inside the browser that made it: "
            "save the picture and upload it."
        )
    if scheme == "file" or PATH.match(url):
        raise InvalidUrl("This address is of a file on your own device: upload the file instead.")
    return with_slashes(url)


def with_slashes(url: str) -> str:
    """Return an address with a slash for each backslash before the query."""
    path = re.split("[?#]", url, maxsplit=1)[0]
    return path.replace("\\", "/") + url[len(path) :]


def sendable(url: str) -> str:
    """Return a picture's URL, which is ``cleaned``, as it will be sent.

    The checks look at that, not at the text that came in, so no second parser can read a different
    host out of it. InvalidUrl where it is malformed, too long, is not http or https, or holds a
    user name or password.
    """
    if len(url) > LIMIT_URL_CHARS:
        raise InvalidUrl(
            f"The picture's address is longer than {LIMIT_URL_CHARS} characters: "
            "use a shorter one, or upload the picture."
        )
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidUrl(
            "The picture's address must start with http:// or https://: paste the whole address."
        )
    request = PreparedRequest()
    try:
        request.prepare_url(url, None)
        sent = urlsplit(str(request.url))
    except (RequestException, ValueError) as exc:
        raise InvalidUrl("The picture's address is malformed: check it for typing errors.") from exc
    if "@" in sent.netloc:
        raise InvalidUrl(
            "The picture's address holds a user name or password, which is never sent: "
            "use an address that opens without one."
        )
    return str(request.url)


def data_in(url: str) -> bytes | None:
    """Return the bytes that a data URL (RFC 2397) holds; None where the address is another one.

    InvalidUrl where it holds none, or they are cut off; or it is no web address at all.
    """
    url = cleaned(url)
    if url[:5].lower() != "data:":
        return None
    kind, _, text = url.partition(",")
    data = unquote_to_bytes(text.partition("#")[0])
    if re.search(r"; *base64 *$", kind, re.IGNORECASE):
        try:
            data = base64.b64decode(data + b"==")  # skips white space, and padding beyond need
        except ValueError as exc:
            raise InvalidUrl("This data: address is cut off: upload the picture instead.") from exc
    if not data:
        raise InvalidUrl("This data: address holds nothing: upload the picture instead.")
    return data


def addresses_of(host: str, port: int, allowed: Sequence[Network], shown: str) -> list[Address]:
    """Return the addresses of a host in the order to try them, IPv6 and IPv4 in turn.

    Within each family the order is the system's, and so is the family to begin with (RFC 8305, 4).
    Who connects to one of these connects to what was checked, whatever the name means a moment
    later. Messages call the host as ``shown``. HttpError where the host is not found; where an
    address is not public, or the port not usual, unless the address is in a network ``allowed``.
    """
    addresses = _looked_up(host, port, shown)
    others = [
        address
        for address in addresses
        if not _is_in(address, allowed) and not _is_in(_inside(address), allowed)
    ]
    if any(_is_in(_inside(address), NOT_PUBLIC) for address in others):
        raise AddressNotAllowed(
            f"{shown} has no public address: "
            "use a picture that anyone on the internet can open, or upload it."
        )
    if others and port not in PORTS:
        raise InvalidUrl(
            f"The picture's address uses or redirects to port {port}: "
            "pictures are fetched from ports 80 and 443 only."
        )
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address not in first]
    return [address for address in chain(*zip_longest(first, second)) if address]


def _looked_up(host: str, port: int, shown: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except UnicodeError as exc:  # such as "a..b"
        raise InvalidUrl(f"{shown} is not a host's name: check the address.") from exc
    except OSError as exc:
        raise PictureHostRefused(
            f"{shown} was not found: check the address for typing errors."
        ) from exc
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def _inside(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if _is_in(address, WITH_IPV4_INSIDE):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
