"""Pictures that are their own address: data URLs (RFC 2397)."""

import base64
import re
from urllib.parse import unquote_to_bytes

from imgserve.errors import InvalidUrl
from imgserve.pictures.address import cleaned

SCHEME = "data:"


def data_in(url: str) -> bytes | None:
    """Return the bytes that a data URL holds; None where the address is another one.

    InvalidUrl where it holds none, or they are cut off; or it is no web address at all.
    """
    url = cleaned(url)
    if url[: len(SCHEME)].lower() != SCHEME:
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
