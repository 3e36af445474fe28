"""Tokens: for gcloud, for containers by their metadata server, and who gets in with one."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time

from flask import Blueprint, Flask, Response, request
from werkzeug.serving import BaseWSGIServer, make_server

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import part

oauth = Blueprint("oauth2", __name__)

LIFETIME_S = 3600  # of Google's access and ID tokens
EVERYONE = "allUsers"
# Those that have run.routes.invoke (IAM's reference of roles and permissions).
INVOKE = {"roles/run.invoker", "roles/run.admin", "roles/editor", "roles/owner"}
# https://cloud.google.com/compute/docs/metadata/querying-metadata
FLAVOUR = {"Metadata-Flavor": "Google"}
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


class Tokens:
    """Makes ID tokens and recognizes its own: JWTs signed with a secret of this process."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def id_token(self, email: str, audience: str) -> str:
        """Return a token that proves to an audience who an account is."""
        issued = int(time.time())
        claims = {"aud": audience, "email": email, "iat": issued, "exp": issued + LIFETIME_S}
        head = _encoded({"alg": "HS256", "typ": "JWT"})
        signed = f"{head}.{_encoded({'iss': 'https://accounts.google.com', **claims})}"
        return f"{signed}.{self._signature(signed)}"

    def claims(self, token: str) -> Json | None:
        """Return what a token says; None for one that is not ours or is over."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return None
        claims = payload(token)
        return claims if claims["exp"] > time.time() else None

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encoded(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def payload(token: str) -> Json:
    """Return the claims of a JWT, whoever signed it."""
    text = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def entry_status(store: Store, tokens: Tokens, service: str, authorization: str) -> int:
    """Return how a service answers a caller: 200, 401 for a bad token, 403 for whom it keeps out.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    """
    invited = store.members(INVOKE, f"services/{service}")
    if EVERYONE in invited:
        return 200
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return 403
    claims = tokens.claims(token.strip())
    document = store.get("services", service) or {"status": {}}
    if claims is None or claims["aud"] != document["status"].get("url"):
        return 401
    return 200 if f"serviceAccount:{claims['email']}" in invited else 403


@oauth.post("/token")
def token() -> Json:
    """Answer gcloud's service account: an ID token if it names an audience, else another one."""
    asked = payload(request.form["assertion"])
    if audience := asked.get("target_audience"):
        return {"id_token": part(Tokens).id_token(asked["iss"], audience)}
    access = secrets.token_urlsafe(24)
    return {"access_token": access, "expires_in": LIFETIME_S, "token_type": "Bearer"}


class MetadataServers:
    """A metadata server for each account, which tells its containers who they are.

    https://cloud.google.com/run/docs/container-contract#metadata-server
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._servers: dict[str, BaseWSGIServer] = {}
        self._lock = threading.Lock()

    def port(self, email: str) -> int:
        """Return where the server of an account answers."""
        with self._lock:
            if email not in self._servers:
                app = _metadata_app(email, self._tokens)
                server = make_server("127.0.0.1", 0, app, threaded=True)
                threading.Thread(target=server.serve_forever, daemon=True).start()
                self._servers[email] = server
            return self._servers[email].port

    def close(self) -> None:
        """Stop all servers."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()


def _metadata_app(email: str, tokens: Tokens) -> Flask:
    app = Flask("metadata")

    @app.before_request
    def refuse() -> Response | None:
        asked = request.path == "/" or request.headers.get("Metadata-Flavor") == "Google"
        return None if asked else Response("Missing Metadata-Flavor:Google header.", 403)

    app.add_url_rule("/", "root", lambda: Response("computeMetadata/\n", headers=FLAVOUR))
    app.add_url_rule(f"{ACCOUNT}/email", "email", lambda: Response(email, headers=FLAVOUR))

    @app.get(f"{ACCOUNT}/identity")
    def identity() -> Response:
        return Response(tokens.id_token(email, request.args["audience"]), headers=FLAVOUR)

    return app
