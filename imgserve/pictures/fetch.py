"""Fetch a picture from an address that a stranger gave."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from http.client import responses
from ipaddress import ip_network
from typing import Final
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPHeaderDict, Retry
from urllib3.exceptions import InvalidHeader

from imgserve import __version__
from imgserve.contract import FORMATS
from imgserve.errors import (
    Busy,
    InvalidUrl,
    PictureHostBusy,
    PictureHostFailed,
    PictureHostRefused,
    PictureTooLarge,
)
from imgserve.pictures.address import cleaned, sendable, with_slashes
from imgserve.pictures.connection import (
    ANOTHER,
    UPLOAD,
    Attempt,
    current_attempt,
    picture_hosts,
    translated,
)
from imgserve.settings import BackendSettings
from imgserve.units import mebibytes

LIMIT_REDIRECTS: Final = 10
REDIRECTS: Final = (301, 302, 303, 307, 308)  # RFC 9110, 15.4: the ones that name one new address
PIECE_BYTES: Final = 256 * 1024
# The host may close a kept connection at the moment it is used again.
ONCE_MORE: Final = Retry(total=1, connect=0, other=0, respect_retry_after_header=False)
LIMIT_RETRY_AFTER_S: Final = 600


class Fetcher:
    """Fetches pictures and keeps connections for the next fetch; all threads may share one."""

    def __init__(self, settings: BackendSettings) -> None:
        self._limit_bytes = settings.max_image_bytes
        self._timeout_s = settings.fetch_timeout_s
        self._allowed = [ip_network(block) for block in settings.allowed_addresses]
        self._hosts = picture_hosts(settings.ssl_cert_file)
        # `identity`: a picture is compressed already, and no decompression bomb is decoded.
        self._headers = {
            "User-Agent": f"imgserve/{__version__} (+{settings.fetch_contact})",
            "Accept": ",".join(f"image/{name.lower()}" for name in FORMATS) + ",*/*;q=0.1",
            "Accept-Encoding": "identity",
        }

    def close(self) -> None:
        self._hosts.clear()

    def fetch(self, url: str, hold: Callable[[int], None] = lambda _: None) -> bytes:
        """Return the bytes at this URL: at least one, within MAX_IMAGE_BYTES and FETCH_TIMEOUT_S.

        ``hold`` is told of each piece's size before it is kept, and may refuse. Each fetch has its
        own thread, because looking up a host cannot be interrupted. The thread may outlive the call
        until the system's resolver answers. HttpError where the address is malformed or not
        allowed, the host gives no picture or takes too long, or no thread is free.
        """
        attempt = Attempt(self._allowed, self._timeout_s, hold)
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
            raise attempt.too_slow() from exc
        except RuntimeError as exc:  # "can't start new thread"
            raise Busy("No thread is free to fetch the picture: try again in a moment.") from exc

    def _run(self, url: str, attempt: Attempt, answer: Future[bytes]) -> None:
        current_attempt.set(attempt)
        try:
            answer.set_result(self._follow(cleaned(url), attempt))
        except Exception as exc:  # noqa: BLE001 - the caller's thread raises it
            answer.set_exception(translated(exc, attempt))

    def _follow(self, typed: str, attempt: Attempt) -> bytes:
        url = sendable(typed)
        attempt.host = urlsplit(typed).netloc
        visited = set()
        for _ in range(1 + LIMIT_REDIRECTS):
            visited.add(url)
            found = self._patiently(url, attempt)
            if isinstance(found, bytes):
                return found
            url = _redirected(url, found.get("Location", ""))
            if url in visited and "Set-Cookie" in found:
                raise PictureHostRefused(
                    f"The picture's host wants to set cookies, which are never kept: {UPLOAD}"
                )
            attempt.host = "The host that the address redirects to"
        raise PictureHostRefused(
            f"The picture's host redirects more than {LIMIT_REDIRECTS} times: {UPLOAD}"
        )

    def _patiently(self, url: str, attempt: Attempt) -> bytes | HTTPHeaderDict:
        """Ask once more where the host is busy and says that it will not be for long."""
        try:
            return self._ask(url, attempt)
        except PictureHostBusy as busy:
            if busy.retry_after_s >= attempt.remaining_s():
                raise
            time.sleep(busy.retry_after_s)
        return self._ask(url, attempt)

    def _ask(self, url: str, attempt: Attempt) -> bytes | HTTPHeaderDict:
        # A requests session reads a redirect's whole body into memory, however long, even when told
        # not to follow it (requests 2.34, Session.send), and takes twice the time.
        response = self._hosts.urlopen(
            "GET",
            url,
            headers=self._headers,
            redirect=False,
            preload_content=False,
            retries=ONCE_MORE,
            pool_timeout=attempt.remaining_s(),
        )
        try:
            if response.status in REDIRECTS:
                return response.headers
            return self._body(response, attempt)
        finally:  # a body that was not read to its end costs the connection, not its place
            response.close()
            response.release_conn()

    def _body(self, response: BaseHTTPResponse, attempt: Attempt) -> bytes:
        if response.status // 100 != 2:  # noqa: PLR2004  all of 2xx
            raise _refusal(response)
        most = mebibytes(self._limit_bytes)
        announced = response.length_remaining or 0
        if announced > self._limit_bytes:
            raise PictureTooLarge(
                f"The picture has {mebibytes(announced)}; at most {most} are accepted: "
                "use a smaller one."
            )
        # Decoding copies the data, so it is done only for a host that encodes it unasked.
        is_encoded = "Content-Encoding" in response.headers
        pieces, size = [], 0
        while piece := response.read(PIECE_BYTES, decode_content=is_encoded):
            size += len(piece)
            if size > self._limit_bytes:
                raise PictureTooLarge(f"The picture has more than {most}: use a smaller one.")
            attempt.hold(len(piece))
            pieces.append(piece)
        if not size:
            raise PictureHostFailed(f"The picture's host answered without any data: {ANOTHER}")
        return b"".join(pieces)


def _redirected(url: str, location: str) -> str:
    try:
        # Headers are read as Latin-1, but most hosts that send more than ASCII mean UTF-8.
        text = location.encode("latin-1").decode("utf-8", "replace")
        # Joining an empty location would lead back to the same address. Backslashes may begin a
        # host's name, which `urljoin` would take for a path.
        return sendable(cleaned(urljoin(url, with_slashes(text))) if text else "")
    except (InvalidUrl, ValueError) as exc:
        raise PictureHostRefused(
            f"The picture's host redirects to something that is not a web address: {UPLOAD}"
        ) from exc


def _refusal(response: BaseHTTPResponse) -> PictureHostFailed:
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
        case status if status // 100 == 5:  # noqa: PLR2004  all of 5xx
            return PictureHostFailed(f"The picture's host {answered}: {ANOTHER}")
    return PictureHostRefused(f"The picture's host {answered}: {UPLOAD}")


def _retry_after_s(response: BaseHTTPResponse) -> int:
    """Return the seconds that the host asks to wait, from 1 to the limit (RFC 9110, 10.2.3)."""
    try:
        wait_s = Retry(retry_after_max=LIMIT_RETRY_AFTER_S).get_retry_after(response) or 1
    except (InvalidHeader, ValueError, OverflowError):
        wait_s = 1
    return max(1, round(wait_s))
