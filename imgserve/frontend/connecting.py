"""The way to a backend that a frontend's settings ask for."""

import requests

from imgserve.frontend.client import BackendClient
from imgserve.settings import ID_TOKEN, FrontendSettings


def connect(base_url: str, settings: FrontendSettings) -> BackendClient:
    """Return the backend at this address, which is shown who calls where the settings say so."""
    session = requests.Session()
    if settings.serving_auth == ID_TOKEN:
        # A page whose backend is public neither loads nor needs google-auth.
        from imgserve.frontend.identity import IdTokenAuth

        session.auth = IdTokenAuth(base_url)
    return BackendClient(base_url, timeout_s=settings.serving_timeout_s, session=session)
