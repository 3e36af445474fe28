"""What setup.sh makes: APIs, repositories, accounts, secrets, and the bucket for source code."""

import base64
import json
import re
from urllib.parse import urlencode

from flask import Blueprint, request

from tools.rehearsal import web
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ENABLED, ApiError, body, existing, finished, make, now, part

projects = Blueprint("cloudresourcemanager", __name__)
billing = Blueprint("cloudbilling", __name__)
services = Blueprint("serviceusage", __name__)
repositories = Blueprint("artifactregistry", __name__)
accounts = Blueprint("iam", __name__)
secrets = Blueprint("secretmanager", __name__)
storage = Blueprint("storage", __name__)
BLUEPRINTS = (projects, billing, services, repositories, accounts, secrets, storage)

PROJECT = "/v1/projects/<_project>"
SERVICES = f"{PROJECT}/services"
REPOSITORIES = f"{PROJECT}/locations/<location>/repositories"
ACCOUNTS = f"{PROJECT}/serviceAccounts"
SECRETS = f"{PROJECT}/secrets"
BUCKETS = "/storage/v1/b"
REPOSITORY_TYPE = "google.devtools.artifactregistry.v1.Repository"
READ_SECRETS = {"roles/secretmanager.secretAccessor"}

web.add_documents(services, f"{SERVICES}/<name>", ENABLED, "services")
web.add_documents(storage, f"{BUCKETS}/<_bucket>/o/<path:name>", "objects", "items")
for blueprint, collection, kind, listed in (
    (repositories, REPOSITORIES, "repositories", "repositories"),
    (accounts, ACCOUNTS, "accounts", "accounts"),
    (secrets, SECRETS, "secrets", "secrets"),
    (storage, BUCKETS, "buckets", "items"),
):
    web.add_documents(blueprint, f"{collection}/<name>", kind, listed)
    web.add_policy(blueprint, f"{collection}/<name>", kind)


# --- the project and its APIs --------------------------------------------------------------------


@projects.get(PROJECT)
def get_project(_project: str) -> Json:
    store = part(Store)
    about = {"projectId": store.project, "projectNumber": store.project_number}
    return {**about, "lifecycleState": "ACTIVE"}


@projects.post(f"{PROJECT}:getIamPolicy")
def get_project_policy(_project: str) -> Json:
    return part(Store).policy("project")


@projects.post(f"{PROJECT}:setIamPolicy")
def set_project_policy(_project: str) -> Json:
    return part(Store).set_policy("project", body()["policy"])


@billing.get(f"{PROJECT}/billingInfo")
def billing_info(_project: str) -> Json:
    """Answer that billing is enabled; nothing is ever charged."""
    return {"projectId": part(Store).project, "billingEnabled": True}


@services.post(f"{SERVICES}:batchEnable")
def enable_services(_project: str) -> Json:
    for name in body()["serviceIds"]:
        part(Store).put(ENABLED, name, {"config": {"name": name}, "state": "ENABLED"})
    return finished({}, "google.api.serviceusage.v1.BatchEnableServicesResponse")


# --- repositories and accounts -------------------------------------------------------------------


@repositories.before_request
def find_only_in_its_region() -> None:
    """Know a repository nowhere but where it was made; its name is kept without the region."""
    at = request.view_args or {}
    if "name" in at:
        made = existing("repositories", at["name"])
        if f"/locations/{at['location']}/" not in made["name"]:
            raise ApiError(404, f"repositories: {at['name']!r} was not found.")


@repositories.post(REPOSITORIES)
def create_repository(_project: str, location: str) -> Json:
    """Make a repository; its images are in a real registry."""
    name = request.args["repositoryId"]
    full = f"projects/{part(Store).project}/locations/{location}/repositories/{name}"
    made = make("repositories", name, {**body(), "name": full, "createTime": now()})
    return finished(made, REPOSITORY_TYPE)


@repositories.patch(f"{REPOSITORIES}/<name>")
def change_repository(name: str, **_: str) -> Json:
    changed = {**existing("repositories", name), **body()}
    part(Store).put("repositories", name, changed)
    return changed


@accounts.post(ACCOUNTS)
def create_account(_project: str) -> Json:
    store = part(Store)
    email = store.account(body()["accountId"])
    name = f"projects/{store.project}/serviceAccounts/{email}"
    return make("accounts", email, {"name": name, "projectId": store.project, "email": email})


# --- secrets -------------------------------------------------------------------------------------


@secrets.post(SECRETS)
def create_secret(_project: str) -> Json:
    name = request.args["secretId"]
    full = f"projects/{part(Store).project_number}/secrets/{name}"
    return make("secrets", name, {**body(), "name": full, "createTime": now()})


@secrets.post(f"{SECRETS}/<name>:addVersion")
def add_secret_version(_project: str, name: str) -> Json:
    """Keep a secret's value in place of the one before."""
    data = base64.b64decode(body()["payload"]["data"], altchars=b"-_").decode()
    part(Store).put("secret-values", f"secrets/{name}", {"1": data})
    return {"name": f"{existing('secrets', name)['name']}/versions/1", "state": "ENABLED"}


@secrets.get(f"{SECRETS}/<name>/versions")
def list_secret_versions(_project: str, name: str) -> Json:
    """Answer what is known of a secret's versions: gcloud asks before it deletes one."""
    full = existing("secrets", name)["name"]
    return {"versions": [{"name": f"{full}/versions/1", "state": "ENABLED"}]}


@secrets.get(f"{SECRETS}/<name>/versions/latest")
def newest_secret_version(_project: str, name: str) -> Json:
    return {"name": f"{existing('secrets', name)['name']}/versions/1", "state": "ENABLED"}


def secret_value(store: Store, name: str, version: str, email: str) -> str | None:
    """Return a version of a secret; None where the service account may not read it."""
    if f"serviceAccount:{email}" not in store.members(READ_SECRETS, f"secrets/{name}"):
        return None
    return (store.get("secret-values", f"secrets/{name}") or {}).get(version)


# --- the bucket ----------------------------------------------------------------------------------


@storage.post(BUCKETS)
def create_bucket() -> Json:
    name = body()["name"]
    return make("buckets", name, {**body(), "kind": "storage#bucket", "id": name})


@storage.get(f"{BUCKETS}/<bucket>/storageLayout")
def get_layout(bucket: str) -> Json:
    """Answer that the bucket has no real folders: gcloud asks before it removes one."""
    return {"bucket": bucket, "hierarchicalNamespace": {"enabled": False}}


@storage.get(f"{BUCKETS}/<_bucket>/managedFolders")
def list_folders(_bucket: str) -> Json:
    return {"kind": "storage#managedFolders", "items": []}


@storage.post("/upload/storage/v1/b/<bucket>/o")
@storage.post("/resumable/upload/storage/v1/b/<bucket>/o")
def upload(bucket: str) -> Json | tuple[Json, dict[str, str]]:
    """Keep an object that comes in one request, or say where to send it, as from 5 MiB on."""
    existing("buckets", bucket)
    if request.args["uploadType"] == "resumable":
        name = body().get("name") or request.args["name"]
        path = request.path.removeprefix(f"/{storage.name}")  # which the front door puts before it
        place = f"{request.host_url[:-1]}{path}"
        return {}, {"Location": f"{place}?{urlencode({'name': name})}"}
    metadata, data = multipart(request.content_type or "", request.get_data())
    return _keep(bucket, metadata.get("name") or request.args["name"], metadata, data)


@storage.put("/upload/storage/v1/b/<bucket>/o")
@storage.put("/resumable/upload/storage/v1/b/<bucket>/o")
def upload_whole(bucket: str) -> Json:
    """Keep an object whose address was said before; gcloud sends it in one part."""
    return _keep(bucket, request.args["name"], {}, request.get_data())


def _keep(bucket: str, name: str, metadata: Json, data: bytes) -> Json:
    known = {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1"}
    part(Store).put("objects", name, {**metadata, **known, "size": str(len(data))})
    part(Store).put("object-bytes", f"objects/{name}", {"bytes": base64.b64encode(data).decode()})
    return existing("objects", name)


def multipart(content_type: str, content: bytes) -> tuple[Json, bytes]:
    """Return an object's metadata and bytes from a ``multipart/related`` body.

    gcloud ends lines in LF and puts the boundary in single quotes: readers of mail trip over both.
    """
    boundary = content_type.partition("boundary=")[2].strip("'\"").encode()
    _, metadata, data, _ = content.split(b"--" + boundary)
    head, file = (re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[1] for piece in (metadata, data))
    return json.loads(head), re.sub(rb"\r?\n\Z", b"", file)
