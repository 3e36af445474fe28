"""Pictures that are their own address: data URLs (RFC 2397)."""

import base64
from urllib.parse import unquote_to_bytes

from imgserve.errors import InvalidUrl
from imgserve.pictures.address import cleaned

SCHEME = "data:"


def is_data_url(url: str) -> bool:
    """Return whether an address holds the picture itself."""
    return cleaned(url)[: len(SCHEME)].lower() == SCHEME


def data_in(url: str) -> bytes:
    """Return the bytes that a data URL holds.

    Raises:
        InvalidUrl: it holds none, or they are cut off.
    """
    kind, _, text = cleaned(url).partition(",")
    data = unquote_to_bytes(text.partition("#")[0])
    if kind.lower().rstrip().endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4))
        except ValueError as exc:
            raise InvalidUrl("This data: address is cut off: upload the picture instead.") from exc
    if not data:
        raise InvalidUrl("This data: address holds nothing: upload the picture instead.")
    return data
