"""Tokens: for gcloud, for containers by their metadata server, and who gets in with one."""

import base64
import json
import secrets
import time

from flask import Blueprint, Response, request

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import part

oauth = Blueprint("oauth2", __name__)
metadata = Blueprint("metadata", __name__)

LIFETIME_S = 3600  # of Google's access and ID tokens
EVERYONE = "allUsers"
# Those that have run.routes.invoke (IAM's reference of roles and permissions).
INVOKE = {"roles/run.invoker", "roles/run.admin", "roles/editor", "roles/owner"}
# https://cloud.google.com/compute/docs/metadata/querying-metadata
FLAVOUR = {"Metadata-Flavor": "Google"}
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


def id_token(store: Store, email: str, audience: str) -> str:
    """Return a token, in the form of a JWT, that proves to an audience who an account is."""
    issued = int(time.time())
    claims = {"aud": audience, "email": email, "iat": issued, "exp": issued + LIFETIME_S}
    parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode()]
    # Nobody checks the signature: a token is one of ours, or none.
    encoded = [base64.urlsafe_b64encode(part) for part in (*parts, secrets.token_bytes(32))]
    token = b".".join(part.rstrip(b"=") for part in encoded).decode()
    store.put("id-tokens", token, claims)
    return token


def payload(token: str) -> Json:
    """Return the claims of a JWT, whoever signed it."""
    text = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def entry_status(store: Store, service: str, authorization: str) -> int:
    """Return how a service answers a caller: 200, 401 for a bad token, 403 for whom it keeps out.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    """
    invited = store.members(INVOKE, f"services/{service}")
    if EVERYONE in invited:
        return 200
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return 403
    claims = store.get("id-tokens", token.strip())
    document = store.get("services", service) or {"status": {}}
    if claims is None or claims["aud"] != document["status"].get("url"):
        return 401
    return 200 if f"serviceAccount:{claims['email']}" in invited else 403


@oauth.post("/token")
def token() -> Json:
    """Answer gcloud's service account: an ID token if it names an audience, else another one."""
    asked = payload(request.form["assertion"])
    if audience := asked.get("target_audience"):
        return {"id_token": id_token(part(Store), asked["iss"], audience)}
    access = secrets.token_urlsafe(24)
    return {"access_token": access, "expires_in": LIFETIME_S, "token_type": "Bearer"}


# --- https://cloud.google.com/run/docs/container-contract#metadata-server ------------------------


def metadata_host(email: str) -> str:
    """Return the name by which an account's containers know the metadata server."""
    return f"{email.partition('@')[0]}.metadata.test"


@metadata.get(f"{ACCOUNT}/identity")
def identity() -> Response:
    email = part(Store).account(request.host.partition(".")[0])  # whose container asks
    return Response(id_token(part(Store), email, request.args["audience"]), headers=FLAVOUR)
