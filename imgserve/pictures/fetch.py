"""Fetch a picture from an address that a stranger gave."""

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from AntiSSRF import AntiSSRFError
from requests import PreparedRequest
from requests.exceptions import InvalidURL
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import MaxRetryError, SSLError
from urllib3.exceptions import TimeoutError as HostTimeout

from imgserve.errors import (
    AddressNotAllowed,
    Busy,
    HttpError,
    InvalidUrl,
    PictureHostFailed,
    PictureTooLarge,
)
from imgserve.pictures.address import LIMIT_URL_CHARS, AddressRules, request_for
from imgserve.pictures.connection import Attempt, current_attempt, guarded_adapter

CHECK: Final = "check that the address opens in a browser."
LIMIT_REDIRECTS: Final = 3
REDIRECTS: Final = (301, 302, 303, 307, 308)  # RFC 9110, 15.4: the ones that name one new address
PIECE_BYTES: Final = 256 * 1024
# The host may close a kept connection at the moment it is used again.
ONCE_MORE: Final = Retry(
    total=1, connect=0, read=1, redirect=0, status=0, other=0, respect_retry_after_header=False
)


class Fetcher:
    """Fetches pictures and keeps connections for the next fetch; all threads may share one."""

    def __init__(
        self, *, limit_bytes: int, timeout_s: float, allowed_addresses: Sequence[str] = ()
    ) -> None:
        """Prepare the rules and the TLS context.

        Args:
            limit_bytes: size of the largest picture accepted.
            timeout_s: time for the whole fetch, from looking up the host to the last byte.
            allowed_addresses: addresses or CIDR ranges that need not be public, on any port.
        """
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._rules = AddressRules(allowed_addresses)
        self._adapter = guarded_adapter(self._rules)

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def fetch(self, url: str) -> bytes:
        """Return the bytes at this URL, 1 to ``limit_bytes`` of them.

        Each fetch has its own thread, because looking up a host cannot be interrupted. The thread
        may outlive the call until the system's resolver answers.

        Raises:
            InvalidUrl: it is malformed, or its scheme, port or credentials are not allowed.
            AddressNotAllowed: its host, or one that it redirects to, is not public.
            PictureTooLarge: there are more than ``limit_bytes``.
            PictureHostFailed: the host gave no picture.
            PictureHostTimeout: it took longer than ``timeout_s``.
            Busy: the machine has no thread to spare.
        """
        attempt = Attempt(self._rules, self._timeout_s)
        answer: Future[bytes] = Future()
        # The log's trace is in the caller's context, which a new thread would not have.
        thread = threading.Thread(
            target=copy_context().run,
            args=(self._run, url, attempt, answer),
            name="fetch",
            daemon=True,
        )
        try:
            thread.start()
            return answer.result(self._timeout_s)
        except TimeoutError as exc:
            attempt.cut_short()
            raise attempt.too_slow() from exc
        except RuntimeError as exc:  # "can't start new thread"
            raise Busy("No thread is free to fetch the picture: try again in a moment.") from exc

    def _run(self, url: str, attempt: Attempt, answer: Future[bytes]) -> None:
        current_attempt.set(attempt)
        try:
            with attempt:
                data = self._follow(url.strip(), attempt)
        except Exception as exc:  # noqa: BLE001 - the caller's thread raises it
            answer.set_exception(_as_http_error(exc, attempt))
        else:
            answer.set_result(data)

    def _follow(self, url: str, attempt: Attempt) -> bytes:
        if len(url) > LIMIT_URL_CHARS:
            raise InvalidUrl(
                f"The picture's address is longer than {LIMIT_URL_CHARS} characters: "
                "use a shorter one, or upload the picture."
            )
        request = request_for(url)
        attempt.host = str(urlsplit(str(request.url)).hostname)
        for _ in range(1 + LIMIT_REDIRECTS):
            with closing(self._send(request, attempt)) as response:
                if response.status not in REDIRECTS:
                    return self._body(response)
                request = _redirected(request, response)
                attempt.host = "The host that the address redirects to"
        raise PictureHostFailed(
            f"The picture's host redirects more than {LIMIT_REDIRECTS} times: "
            "use the address where the redirects end."
        )

    def _send(self, request: PreparedRequest, attempt: Attempt) -> BaseHTTPResponse:
        # AntiSSRF's adapter looks up and checks the host, urllib3 does the rest. A requests session
        # would double the time, and reads a redirect's whole body into memory, however long, even
        # when told not to follow it (requests 2.34, Session.send).
        pool: Any = self._adapter.get_connection_with_tls_context(request, verify=True)
        response: BaseHTTPResponse = pool.urlopen(
            "GET",
            request.path_url,
            headers=request.headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            retries=ONCE_MORE,
            timeout=attempt.remaining_s(),
        )
        return response

    def _body(self, response: BaseHTTPResponse) -> bytes:
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            answered = _status_text(response.status)
            raise PictureHostFailed(f"The picture's host answered {answered}: {CHECK}")
        if (response.length_remaining or 0) > self._limit_bytes:
            raise self._too_large()
        # Decoding copies the data, so it is done only for a host that encodes it unasked.
        is_encoded = "Content-Encoding" in response.headers
        pieces, size = [], 0
        while piece := response.read(PIECE_BYTES, decode_content=is_encoded):
            size += len(piece)
            if size > self._limit_bytes:
                raise self._too_large()
            pieces.append(piece)
        if not size:
            raise PictureHostFailed(f"The picture's host answered without any data: {CHECK}")
        return b"".join(pieces)

    def _too_large(self) -> PictureTooLarge:
        return PictureTooLarge(
            f"The picture is larger than {self._limit_bytes} bytes: use a smaller one."
        )


def _status_text(status: int) -> str:
    """Return the status with its registered phrase, never with the host's own words."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _redirected(request: PreparedRequest, response: BaseHTTPResponse) -> PreparedRequest:
    """Return the request for the address that an answer redirects to."""
    location = response.headers.get("Location", "")
    try:
        # Headers are read as Latin-1, but most hosts that send more than ASCII mean UTF-8.
        text = location.encode("latin-1").decode("utf-8", "replace")
        # Joining an empty location would lead back to the same address.
        return request_for(urljoin(str(request.url), text) if text else "")
    except (InvalidUrl, ValueError) as exc:
        raise PictureHostFailed(
            "The picture's host redirects to something that is not a web address: " + CHECK
        ) from exc


def _as_http_error(exc: Exception, attempt: Attempt) -> HttpError:
    """Return the error that the caller is told, with its cause kept for the log."""
    if isinstance(exc, HttpError):
        return exc
    reason = exc.reason if isinstance(exc, MaxRetryError) else exc
    error = _translate(reason, attempt)
    error.__cause__ = exc
    return error


def _translate(reason: Exception | None, attempt: Attempt) -> HttpError:
    """Return our error for one that AntiSSRF, the resolver or urllib3 raised."""
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
