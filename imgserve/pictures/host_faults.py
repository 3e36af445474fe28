"""What goes wrong at a picture's host, in a person's words and with what to do next."""

import ssl
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import EmptyPoolError, SSLError
from urllib3.exceptions import TimeoutError as HostTimeout

from imgserve.errors import HttpError, PictureHostBusy, PictureHostFailed, PictureHostRefused
from imgserve.pictures.connection import Attempt

UPLOAD: Final = "save the picture and upload it."
ANOTHER: Final = "try again later, or use a picture from another host."
NOT_FOR_PROGRAMS: Final = (401, 403, 406, 451)
NOT_THERE: Final = (404, 410)
BUSY: Final = (429, 503)
LIMIT_RETRY_AFTER_S: Final = 600
# What OpenSSL finds wrong with a certificate (openssl/x509_vfy.h).
CERTIFICATE_FAULTS: Final = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by nobody but the host itself",
    19: "is signed by an authority of the host's own",
    20: "is signed by an unknown authority, or the host does not send the whole chain",
    21: "is signed by an unknown authority, or the host does not send the whole chain",
    23: "was revoked",
    62: "belongs to another name",
    64: "belongs to another address",
}


def refusal(response: BaseHTTPResponse) -> PictureHostFailed:
    """Return the error for an answer that is not a picture, with what to do next."""
    answered = f"answered {_status_text(response.status)}"
    if response.status in BUSY:
        wait_s = _retry_after_s(response)
        return PictureHostBusy(
            f"The picture's host is busy (it {answered}): try again in {wait_s} "
            f"{'second' if wait_s == 1 else 'seconds'}.",
            wait_s,
        )
    if response.status in NOT_FOR_PROGRAMS:
        return PictureHostRefused(
            f"The picture's host does not give its pictures to programs (it {answered}): {UPLOAD}"
        )
    if response.status in NOT_THERE:
        return PictureHostRefused(
            f"There is nothing at this address (the picture's host {answered}): "
            "check it for typing errors, or use another."
        )
    if HTTPStatus.INTERNAL_SERVER_ERROR <= response.status < 600:  # noqa: PLR2004  the last of 5xx
        return PictureHostFailed(f"The picture's host {answered}: {ANOTHER}")
    return PictureHostRefused(f"The picture's host {answered}: {UPLOAD}")


def _retry_after_s(response: BaseHTTPResponse) -> int:
    """Return the seconds that the host asks to wait, from 1 to the limit (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        wait_s = float(text)
    else:
        try:
            wait_s = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            wait_s = 1.0
    return round(min(max(1.0, wait_s), LIMIT_RETRY_AFTER_S))


def _status_text(status: int) -> str:
    """Return the status with its registered phrase, never with the host's own words."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def translated(reason: Exception | None, attempt: Attempt) -> HttpError:
    """Return our error for one that urllib3 raised."""
    match reason:
        case HostTimeout() | EmptyPoolError():
            return attempt.too_slow()
        case SSLError():
            return PictureHostRefused(
                "No secure connection (TLS) to the picture's host can be made, because "
                f"{_tls_fault(reason)}: {UPLOAD}"
            )
    return PictureHostFailed(f"The picture's host broke off or did not answer in HTTP: {ANOTHER}")


def _tls_fault(error: SSLError) -> str:
    cause = error.args[0] if error.args else None
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return "it does not answer in TLS as it should"
    return f"its certificate {CERTIFICATE_FAULTS.get(cause.verify_code, 'cannot be verified')}"
