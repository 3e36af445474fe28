"""The way in: the addresses of services, where nginx listens, and who gets in with which token."""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from flask import Response, request

from tools.process import LOOPBACK, free_ports, listens
from tools.rehearsal.host import serving
from tools.rehearsal.web import Json, Store, api, store

CONFIGURATION = Template(Path(__file__).with_suffix(".conf").read_text("utf-8"))
COUNT = 64  # of ports: v3 with all its models takes 13, and as many again for each tag
LIFETIME_S = 3600  # of Google's access and ID tokens
# Those that have run.routes.invoke (IAM's reference of roles and permissions).
INVOKE = {"roles/run.invoker", "roles/run.admin", "roles/editor", "roles/owner"}


@contextmanager
def front_door(folder: Path, cloud_port: int) -> Iterator[list[int]]:
    """Have nginx, which may write into a folder, listen until the end of the block on these ports.

    It asks the stand-ins, which answer at ``cloud_port``, about each request.
    """
    ports = free_ports(COUNT)
    config = folder / "nginx.conf"
    folder.mkdir()
    listen = "\n    ".join(f"listen {LOOPBACK}:{port};" for port in ports)
    values = {"folder": folder, "listen": listen, "cloud": cloud_port}
    config.write_text(CONFIGURATION.substitute(values), "utf-8")
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]
    with serving(command, folder / "nginx.log", lambda: listens(ports[-1])):
        yield ports


# --- tokens --------------------------------------------------------------------------------------


def id_token(store: Store, email: str, audience: str) -> str:
    """Return a token, in the form of a JWT, that proves to an audience who an account is."""
    issued = int(time.time())
    claims = {"aud": audience, "email": email, "iat": issued, "exp": issued + LIFETIME_S}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    # Nobody checks the signature: a token is one of ours, or none.
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
    token = ".".join([*encoded, secrets.token_urlsafe(32)])
    store.put("id-tokens", token, claims)
    return token


def entry_status(store: Store, service: str, authorization: str) -> int:
    """Return how a service answers a caller: 200, 401 for a bad token, 403 for whom it keeps out.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    """
    invited = store.members(INVOKE, f"services/{service}")
    if "allUsers" in invited:
        return 200
    if not authorization.lower().startswith("bearer "):
        return 403
    claims, document = store.get("id-tokens", authorization[7:]), store.get("services", service)
    if claims is None or document is None or claims["aud"] != document["status"]["url"]:
        return 401
    return 200 if f"serviceAccount:{claims['email']}" in invited else 403


@api.post("/token")
def token() -> Json:
    """Answer gcloud's service account: an ID token if it names an audience, else another one."""
    claims = request.form["assertion"].split(".")[1]  # of a JWT
    asked = json.loads(base64.urlsafe_b64decode(claims + "=="))  # more padding than needed is fine
    if audience := asked.get("target_audience"):
        return {"id_token": id_token(store, asked["iss"], audience)}
    access = secrets.token_urlsafe(24)
    return {"access_token": access, "expires_in": LIFETIME_S, "token_type": "Bearer"}


# https://cloud.google.com/run/docs/container-contract#metadata-server
@api.get("/computeMetadata/v1/instance/service-accounts/default/identity")
def identity() -> Response:
    email = store.account(request.host.partition(".")[0])  # ACCOUNT.metadata.test
    token = id_token(store, email, request.args["audience"])
    return Response(token, headers={"Metadata-Flavor": "Google"})
