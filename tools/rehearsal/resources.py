"""What setup.sh makes, but for the bucket: APIs, repositories, accounts and secrets."""

import base64
import re

from flask import Blueprint, request

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ENABLED, ApiError, body, finished, now, part

projects = Blueprint("cloudresourcemanager", __name__)
billing = Blueprint("cloudbilling", __name__)
services = Blueprint("serviceusage", __name__)
repositories = Blueprint("artifactregistry", __name__)
accounts = Blueprint("iam", __name__)
secrets = Blueprint("secretmanager", __name__)
BLUEPRINTS = (projects, billing, services, repositories, accounts, secrets)

REPOSITORIES = "/v1/projects/<_project>/locations/<location>/repositories"
ACCOUNTS = "/v1/projects/<_project>/serviceAccounts"
SECRETS = "/v1/projects/<_project>/secrets"
REPOSITORY_TYPE = "google.devtools.artifactregistry.v1.Repository"
READ_SECRETS = {"roles/secretmanager.secretAccessor"}
# The form that Google asks for: 6 to 30 characters (IAM, "Create service accounts").
ACCOUNT_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def existing(kind: str, name: str) -> Json:
    """Return a document.

    Raises:
        ApiError: 404, there is none of that name.
    """
    found = part(Store).get(kind, name)
    if found is None:
        raise ApiError(404, f"{kind}: {name!r} was not found.")
    return found


def make(kind: str, name: str, document: Json) -> Json:
    """Keep a new document and return it.

    Raises:
        ApiError: 409, there is one of that name.
    """
    if part(Store).get(kind, name) is not None:
        raise ApiError(409, f"{kind}: {name!r} already exists.")
    part(Store).put(kind, name, document)
    return document


def add_resource(blueprint: Blueprint, rule: str, kind: str) -> None:
    """Add what all resources have: they are listed, described and deleted, and have a policy.

    Args:
        blueprint: of their API.
        rule: one resource's address, which ends in `/<name>`.
        kind: under which the store keeps them; also the name of the list.
    """

    def delete(name: str, **_: str) -> Json:
        existing(kind, name)
        part(Store).delete(kind, name)
        return finished({})

    rules = blueprint.add_url_rule
    rules(rule.removesuffix("/<name>"), f"list_{kind}", lambda **_: {kind: part(Store).all(kind)})
    rules(rule, f"get_{kind}", lambda name, **_: existing(kind, name))
    rules(rule, f"delete_{kind}", delete, methods=["DELETE"])
    add_policy(blueprint, rule, kind)


def add_policy(blueprint: Blueprint, rule: str, kind: str) -> None:
    """Add the two requests by which a resource's policy is read and written."""

    def get_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return part(Store).policy(f"{kind}/{name}")

    def set_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return part(Store).set_policy(f"{kind}/{name}", body()["policy"])

    rules = blueprint.add_url_rule
    rules(f"{rule}:getIamPolicy", f"get_{kind}_policy", get_policy)
    rules(f"{rule}:setIamPolicy", f"set_{kind}_policy", set_policy, methods=["POST"])


# --- the project ---------------------------------------------------------------------------------


@projects.get("/v1/projects/<_project>")
def get_project(_project: str) -> Json:
    store = part(Store)
    number = store.project_number
    about = {"projectId": store.project, "projectNumber": number, "name": store.project}
    return {**about, "lifecycleState": "ACTIVE"}


@projects.post("/v1/projects/<_project>:getIamPolicy")
def get_project_policy(_project: str) -> Json:
    return part(Store).policy("project")


@projects.post("/v1/projects/<_project>:setIamPolicy")
def set_project_policy(_project: str) -> Json:
    """Keep the project's policy; a service account that is new in it must exist."""
    store, wanted = part(Store), body()["policy"]
    new = _members(wanted) - _members(store.policy("project"))
    for email in (member.removeprefix("serviceAccount:") for member in sorted(new)):
        if store.get("accounts", email) is None:
            raise ApiError(400, f"Service account {email} does not exist.")
    return store.set_policy("project", wanted)


def _members(policy: Json) -> set[str]:
    return {member for binding in policy.get("bindings", []) for member in binding["members"]}


@billing.get("/v1/projects/<_project>/billingInfo")
def billing_info(_project: str) -> Json:
    """Answer that billing is enabled; nothing is ever charged."""
    return {"projectId": part(Store).project, "billingEnabled": True}


# --- APIs ----------------------------------------------------------------------------------------


@services.post("/v1/projects/<_project>/services:batchEnable")
def enable_services(_project: str) -> Json:
    for name in body()["serviceIds"]:
        part(Store).put(ENABLED, name, {"config": {"name": name}, "state": "ENABLED"})
    return finished({}, "google.api.serviceusage.v1.BatchEnableServicesResponse")


@services.get("/v1/projects/<_project>/services/<name>")
def get_service(_project: str, name: str) -> Json:
    disabled = {"config": {"name": name}, "state": "DISABLED"}
    return part(Store).get(ENABLED, name) or disabled


@services.post("/v1/projects/<_project>/services/<name>:enable")
def enable_service(_project: str, name: str) -> Json:
    part(Store).put(ENABLED, name, {"config": {"name": name}, "state": "ENABLED"})
    return finished({}, "google.api.serviceusage.v1.EnableServiceResponse")


@services.get("/v1/projects/<_project>/services")
def list_services(_project: str) -> Json:
    return {"services": part(Store).all(ENABLED)}


@services.get("/v1/operations/<name>")
def get_operation(name: str) -> Json:
    """Answer that an operation is over: enabling takes no time here."""
    return finished({}) | {"name": f"operations/{name}"}


# --- repositories --------------------------------------------------------------------------------


@repositories.get("/v1/projects/<project>/locations/<location>")
def get_location(project: str, location: str) -> Json:
    """Answer that the place exists: gcloud asks before it makes a repository."""
    return {"name": f"projects/{project}/locations/{location}", "locationId": location}


@repositories.post(REPOSITORIES)
def create_repository(_project: str, location: str) -> Json:
    """Make a repository; its images are in a real registry."""
    name = request.args["repositoryId"]
    full = f"projects/{part(Store).project}/locations/{location}/repositories/{name}"
    made = make("repositories", name, {**body(), "name": full, "createTime": now()})
    return finished(made, REPOSITORY_TYPE)


add_resource(repositories, f"{REPOSITORIES}/<name>", "repositories")


# --- accounts ------------------------------------------------------------------------------------


@accounts.post(ACCOUNTS)
def create_account(_project: str) -> Json:
    store, account_id = part(Store), body().get("accountId", "")
    if not ACCOUNT_ID.fullmatch(account_id):
        raise ApiError(400, f"The account ID {account_id!r} is not 6 to 30 letters and digits.")
    email = store.account(account_id)
    name = f"projects/{store.project}/serviceAccounts/{email}"
    made = {"name": name, "projectId": store.project, "uniqueId": "1", "email": email}
    return make("accounts", email, made | body().get("serviceAccount", {}))


add_resource(accounts, f"{ACCOUNTS}/<name>", "accounts")


# --- secrets -------------------------------------------------------------------------------------


@secrets.post(SECRETS)
def create_secret(_project: str) -> Json:
    name = request.args["secretId"]
    full = f"projects/{part(Store).project_number}/secrets/{name}"
    return make("secrets", name, {**body(), "name": full, "createTime": now()})


@secrets.post(f"{SECRETS}/<name>:addVersion")
def add_secret_version(_project: str, name: str) -> Json:
    full, data = existing("secrets", name)["name"], body()["payload"]["data"]
    kept = _values(part(Store), name)
    # Clients send either alphabet of base64.
    value = base64.b64decode(data.replace("-", "+").replace("_", "/")).decode()
    part(Store).put("secret-values", f"secrets/{name}", {"values": [*kept, value]})
    return {"name": f"{full}/versions/{len(kept) + 1}", "createTime": now(), "state": "ENABLED"}


def secret_value(store: Store, name: str, version: str, email: str) -> str:
    """Return a version's value for a service account.

    Raises:
        ApiError: 404, there is no such version; 403, the account may not read it.
    """
    values = _values(store, name)
    number = len(values) if version == "latest" else int(version)
    if not 0 < number <= len(values):
        raise ApiError(404, f"Secret {name}/versions/{version} was not found")
    if f"serviceAccount:{email}" not in store.members(READ_SECRETS, f"secrets/{name}"):
        needed = "roles/secretmanager.secretAccessor"
        raise ApiError(403, f"Permission denied on secret {name} for {email}: it needs {needed}")
    return values[number - 1]


def _values(store: Store, name: str) -> list[str]:
    kept: Json = store.get("secret-values", f"secrets/{name}") or {"values": []}
    return list(kept["values"])


add_resource(secrets, f"{SECRETS}/<name>", "secrets")


@secrets.get(f"{SECRETS}/<name>/versions")
def list_secret_versions(_project: str, name: str) -> Json:
    """Answer what is known of a secret's versions: gcloud asks before it deletes one."""
    full, count = existing("secrets", name)["name"], len(_values(part(Store), name))
    names = [f"{full}/versions/{number + 1}" for number in range(count)]
    versions = [{"name": version, "state": "ENABLED"} for version in names]
    return {"versions": versions, "totalSize": count}
