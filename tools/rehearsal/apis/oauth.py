"""Tokens: access tokens for gcloud, and ID tokens that Cloud Run's gate can have checked."""

import hmac
import json
import secrets
import time
from pathlib import Path

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import Json
from tools.rehearsal.keys import base64url, from_base64url, private_key, sign
from tools.rehearsal.state import state

api = Blueprint("oauth", __name__)

ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600  # of Google's access and ID tokens


@api.post("/token")
def token() -> tuple[Response, int]:
    """Answer a service account's signed request: an ID token if it names an audience."""
    asked = checked(request.form.get("assertion", ""), operator_key(state().folder))
    if asked is None:
        return jsonify(error="invalid_grant", error_description="Invalid JWT Signature."), 400
    if audience := asked.get("target_audience"):
        return jsonify(id_token=id_token(state().folder, asked["iss"], audience)), 200
    access = f"rehearsal.{secrets.token_urlsafe(24)}"
    return jsonify(access_token=access, expires_in=LIFETIME_S, token_type="Bearer"), 200  # noqa: S106


@api.get("/tokeninfo")
def tokeninfo() -> tuple[Response, int]:
    """Answer an ID token's claims, or 400 for one that is not ours or is over."""
    claims = checked(request.args.get("id_token", ""), server_key(state().folder))
    if claims is None:
        return jsonify(error="invalid_token", error_description="Invalid Value"), 400
    return jsonify({name: str(value) for name, value in claims.items()}), 200


def id_token(folder: Path, email: str, audience: str) -> str:
    """Return an ID token for an account, signed with the server's own key."""
    issued = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "azp": email,
        "sub": email,
        "email": email,
        "email_verified": "true",
        "iat": issued,
        "exp": issued + LIFETIME_S,
    }
    head = base64url(json.dumps({"alg": "RS256", "kid": "rehearsal", "typ": "JWT"}).encode())
    signed = f"{head}.{base64url(json.dumps(claims).encode())}"
    return f"{signed}.{base64url(sign(server_key(folder), signed.encode()))}"


def checked(text: str, key: Path) -> Json | None:
    """Return the claims of a JWT that this key signed and whose time is not over."""
    signed, _, signature = text.rpartition(".")
    try:
        claims: Json = json.loads(from_base64url(signed.partition(".")[2]))
        given = from_base64url(signature)
    except ValueError:
        return None
    # RS256 gives the same bytes for the same words, so signing again is checking.
    genuine = hmac.compare_digest(given, sign(key, signed.encode()))
    return claims if genuine and float(claims.get("exp", 0)) > time.time() else None


def operator_key(folder: Path) -> Path:
    """Return the file of the key that gcloud's account signs with; made on first use."""
    return _key(folder, "operator")


def server_key(folder: Path) -> Path:
    """Return the file of the key that ID tokens are signed with; made on first use."""
    return _key(folder, "server")


def _key(folder: Path, name: str) -> Path:
    path = folder / "keys" / f"{name}.pem"
    private_key(path)
    return path
