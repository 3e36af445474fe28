"""Secret Manager: secrets, their versions, and who may read them."""

import base64

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import Json, already_exists, body, etag, invalid, not_found, now
from tools.rehearsal.policies import forget_policy, members, policy, set_policy
from tools.rehearsal.projects import project_number, project_of
from tools.rehearsal.state import store
from tools.rehearsal.store import Store

api = Blueprint("secretmanager", __name__)

KIND = "secrets"
SECRETS = "/v1/projects/<project>/secrets"
LIMIT_BYTES = 64 * 1024  # of one version (Secret Manager, "Quotas and limits")
READER = "roles/secretmanager.secretAccessor"


@api.post(SECRETS)
def create(project: str) -> Response:
    """Make a secret, which has no version yet."""
    project_of(store(), project)
    name = _name(project, request.args.get("secretId", ""))
    if store().get(KIND, name):
        raise already_exists(f"Secret [{name}] already exists.")
    made = {**body(), "name": name, "createTime": now(), "etag": etag(name)}
    store().put(KIND, name, {"secret": made, "versions": []})
    return jsonify(made)


@api.get(SECRETS)
def list_secrets(project: str) -> Response:
    """Answer the project's secrets."""
    names = [name for name in store().names(KIND) if name.startswith(_name(project, ""))]
    return jsonify(secrets=[(store().get(KIND, name) or {})["secret"] for name in names])


@api.get(f"{SECRETS}/<secret>")
def get(project: str, secret: str) -> Response:
    """Answer what is known of a secret, which is not its value."""
    return jsonify(_existing(store(), _name(project, secret))["secret"])


@api.delete(f"{SECRETS}/<secret>")
def delete(project: str, secret: str) -> Response:
    """Remove a secret with its versions."""
    name = _name(project, secret)
    _existing(store(), name)
    store().delete(KIND, name)
    forget_policy(store(), name)
    return jsonify({})


@api.post(f"{SECRETS}/<secret>:addVersion")
def add_version(project: str, secret: str) -> Response:
    """Keep a new value."""
    name = _name(project, secret)
    payload = body().get("payload", {})
    if not 0 < len(_value(payload)) <= LIMIT_BYTES:
        raise invalid(f"Secret Payload must have 1 to {LIMIT_BYTES} bytes.")
    with store().lock:
        kept = _existing(store(), name)
        kept["versions"].append({"payload": payload, "createTime": now()})
        store().put(KIND, name, kept)
    return jsonify(_version(name, kept, len(kept["versions"])))


@api.get(f"{SECRETS}/<secret>/versions")
def list_versions(project: str, secret: str) -> Response:
    """Answer what is known of a secret's versions, the newest first."""
    name = _name(project, secret)
    kept = _existing(store(), name)
    numbers = range(len(kept["versions"]), 0, -1)
    versions = [_version(name, kept, number) for number in numbers]
    return jsonify(versions=versions, totalSize=len(versions))


@api.get(f"{SECRETS}/<secret>/versions/<version>")
def get_version(project: str, secret: str, version: str) -> Response:
    """Answer what is known of a version."""
    name = _name(project, secret)
    kept = _existing(store(), name)
    return jsonify(_version(name, kept, _number(name, kept, version)))


@api.get(f"{SECRETS}/<secret>/versions/<version>:access")
def access(project: str, secret: str, version: str) -> Response:
    """Answer a version's value."""
    name = _name(project, secret)
    kept = _existing(store(), name)
    number = _number(name, kept, version)
    payload = kept["versions"][number - 1]["payload"]
    return jsonify(name=_version(name, kept, number)["name"], payload=payload)


@api.get(f"{SECRETS}/<secret>:getIamPolicy")
def get_policy(project: str, secret: str) -> Response:
    """Answer who may read the secret."""
    name = _name(project, secret)
    _existing(store(), name)
    return jsonify(policy(store(), name))


@api.post(f"{SECRETS}/<secret>:setIamPolicy")
def put_policy(project: str, secret: str) -> Response:
    """Keep who may read the secret."""
    name = _name(project, secret)
    _existing(store(), name)
    return jsonify(set_policy(store(), name))


def secret_value(secrets: Store, project: str, secret: str, version: str) -> bytes:
    """Return a version's value; ``latest`` is the newest.

    Raises:
        ApiError: 404 if there is no such secret or version.
    """
    name = _name(project, secret)
    kept = _existing(secrets, name)
    return _value(kept["versions"][_number(name, kept, version) - 1]["payload"])


def may_read(secrets: Store, project: str, secret: str, email: str) -> bool:
    """Return whether a service account may read the secret, by its own or the project's policy."""
    readers = members(secrets, _name(project, secret), READER)
    return f"serviceAccount:{email}" in readers | members(secrets, f"projects/{project}", READER)


def _name(project: str, secret: str) -> str:
    return f"projects/{project}/secrets/{secret}"


def _existing(secrets: Store, name: str) -> Json:
    kept = secrets.get(KIND, name)
    if kept is None:
        raise not_found(f"Secret [{name}] not found.")
    return kept


def _number(name: str, kept: Json, version: str) -> int:
    count = len(kept["versions"])
    wanted = count if version == "latest" else int(version) if version.isdigit() else 0
    if not 0 < wanted <= count:
        raise not_found(f"Secret Version [{name}/versions/{version}] not found.")
    return wanted


def _version(name: str, kept: Json, number: int) -> Json:
    _, project, _, secret = name.split("/")
    return {
        "name": f"projects/{project_number(project)}/secrets/{secret}/versions/{number}",
        "createTime": kept["versions"][number - 1]["createTime"],
        "state": "ENABLED",
        "etag": etag([name, number]),
    }


def _value(payload: Json) -> bytes:
    # Clients send either alphabet of base64.
    text = payload.get("data", "").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text)
    except ValueError as exc:
        raise invalid("Secret Payload is not base64.") from exc
