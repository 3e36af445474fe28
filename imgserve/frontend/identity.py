"""Show a Cloud Run service who calls it: an ID token with every request.

https://cloud.google.com/run/docs/authenticating/service-to-service
"""

import logging
import threading
import time
from urllib.parse import urlsplit

import requests
from google.auth.compute_engine import IDTokenCredentials
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from requests.auth import AuthBase

from imgserve.errors import IdentityUnavailable

# google-auth tries five times within some 15 s; who asks just after that is told the same at once.
PAUSE_S = 10.0

log = logging.getLogger(__name__)


class IdTokenAuth(AuthBase):
    """Adds an ID token from the metadata server to the requests for one service, and to no others.

    A token is used until it is about to expire. Threads share one object: the first fetches the
    token, the others wait for it.
    """

    def __init__(self, base_url: str) -> None:
        self._audience = root_url(base_url)
        # Without a request it asks nobody until a token is wanted; a bound token would need mTLS.
        self._credentials = IDTokenCredentials(  # type: ignore[no-untyped-call]
            None, self._audience, use_metadata_identity_endpoint=True, bind_id_token=False
        )
        self._lock = threading.Lock()
        self._failure = ""
        self._next_try_s = float("-inf")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if root_url(request.url or "") == self._audience:
            request.headers["Authorization"] = f"Bearer {self.current()}"
        return request

    def current(self) -> str:
        """Return a token that is valid now; IdentityUnavailable says why there is none."""
        with self._lock:
            fresh = self._credentials.token_state is TokenState.FRESH
            if not fresh and time.monotonic() >= self._next_try_s:
                self._renew()
            if self._credentials.token_state is TokenState.INVALID:
                raise IdentityUnavailable(f"no ID token for {self._audience}: {self._failure}")
            return str(self._credentials.token)

    def _renew(self) -> None:
        """Fetch a token; where that fails, the last one goes on being used while it is valid.

        Why it failed is kept in one line that never holds a token.
        """
        self._failure = "the metadata server gave one that has expired"
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy could keep the token
                self._credentials.refresh(Request(session))  # type: ignore[no-untyped-call]
        except (GoogleAuthError, LookupError, ValueError) as exc:
            self._failure = f"the metadata server gave something else ({type(exc).__name__})"
            if isinstance(exc, RefreshError):
                self._failure = " ".join(str(exc).split())
            log.warning("no new ID token for %s: %s", self._audience, self._failure)
        if self._credentials.token_state is not TokenState.FRESH:
            self._next_try_s = time.monotonic() + PAUSE_S


def root_url(url: str) -> str:
    """Return the scheme, host and port of an address: what Cloud Run knows a service by."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
