"""What a caller is told when a picture could not be fetched."""

import socket
from typing import Final

from AntiSSRF import AntiSSRFError
from requests.exceptions import InvalidURL
from urllib3.exceptions import MaxRetryError, SSLError
from urllib3.exceptions import TimeoutError as HostTimeout

from imgserve.errors import AddressNotAllowed, HttpError, InvalidUrl, PictureHostFailed
from imgserve.pictures.connection import Attempt

CHECK: Final = "check that the address opens in a browser."


def as_http_error(exc: Exception, attempt: Attempt) -> HttpError:
    """Return what the caller is told; the cause is kept for the log."""
    if isinstance(exc, HttpError):
        return exc
    reason = exc.reason if isinstance(exc, MaxRetryError) else exc
    error = _translated(reason, attempt)
    error.__cause__ = exc
    return error


def _translated(reason: Exception | None, attempt: Attempt) -> HttpError:
    """Return the error for what AntiSSRF, the resolver or urllib3 raised."""
    match reason:
        case AntiSSRFError():
            return AddressNotAllowed(
                f"{attempt.host} has no public address: "
                "use a picture that anyone on the internet can open, or upload it."
            )
        case socket.gaierror():
            return PictureHostFailed(
                f"{attempt.host} was not found: check the address for typing errors."
            )
        case InvalidURL():  # a host name that cannot be looked up, such as "a..b"
            return InvalidUrl(f"{attempt.host} is not a host's name: check the address.")
        case HostTimeout():
            return attempt.too_slow()
        case SSLError():
            return PictureHostFailed(
                "No secure (TLS) connection to the picture's host could be made, most often "
                f"because its certificate is not valid: {CHECK}"
            )
    return PictureHostFailed(f"The picture's host broke off or did not answer in HTTP: {CHECK}")
