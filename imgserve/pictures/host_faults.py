"""What goes wrong at a picture's host, in a person's words and with what to do next."""

import ssl
from http.client import responses
from typing import Final

from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import EmptyPoolError, InvalidHeader, MaxRetryError, SSLError
from urllib3.exceptions import TimeoutError as HostTimeout

from imgserve.errors import HttpError, PictureHostBusy, PictureHostFailed, PictureHostRefused
from imgserve.pictures.connection import ANOTHER, Attempt

UPLOAD: Final = "save the picture and upload it."
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
    # The registered phrase, never the host's own words.
    answered = f"answered {response.status} {responses.get(response.status, '')}".rstrip()
    match response.status:
        case 401 | 403 | 406 | 451:
            return PictureHostRefused(
                "The picture's host does not give its pictures to programs "
                f"(it {answered}): {UPLOAD}"
            )
        case 404 | 410:
            return PictureHostRefused(
                f"There is nothing at this address (the picture's host {answered}): "
                "check it for typing errors, or use another."
            )
        case 429 | 503:
            wait_s = _retry_after_s(response)
            return PictureHostBusy(
                f"The picture's host is busy (it {answered}): try again in {wait_s} "
                f"{'second' if wait_s == 1 else 'seconds'}.",
                wait_s,
            )
        case status if 500 <= status < 600:  # noqa: PLR2004  all of 5xx
            return PictureHostFailed(f"The picture's host {answered}: {ANOTHER}")
    return PictureHostRefused(f"The picture's host {answered}: {UPLOAD}")


def _retry_after_s(response: BaseHTTPResponse) -> int:
    """Return the seconds that the host asks to wait, from 1 to the limit (RFC 9110, 10.2.3)."""
    try:
        wait_s = Retry(retry_after_max=LIMIT_RETRY_AFTER_S).get_retry_after(response) or 1
    except (InvalidHeader, ValueError, OverflowError):
        wait_s = 1
    return max(1, round(wait_s))


def translated(error: Exception, attempt: Attempt) -> HttpError:
    """Return the error that the caller is told, with its cause kept for the log."""
    reason = error.reason if isinstance(error, MaxRetryError) else error
    match reason:
        case HttpError():
            return reason
        case HostTimeout() | EmptyPoolError():
            told: HttpError = attempt.too_slow()
        case SSLError():
            told = PictureHostRefused(
                "No secure connection (TLS) to the picture's host can be made, because "
                f"{_tls_fault(reason)}: {UPLOAD}"
            )
        case _:
            told = PictureHostFailed(
                f"The picture's host broke off or did not answer in HTTP: {ANOTHER}"
            )
    told.__cause__ = error
    return told


def _tls_fault(error: SSLError) -> str:
    cause = error.args[0] if error.args else None
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return "it does not answer in TLS as it should"
    return f"its certificate {CERTIFICATE_FAULTS.get(cause.verify_code, 'cannot be verified')}"
