"""What setup.sh makes: APIs, repositories, accounts, secrets, and the bucket for source code."""

import base64
import json
import re

from flask import request

from tools.rehearsal import web
from tools.rehearsal.web import Json, Store, api, existing, make, store

SERVICES = f"{web.PROJECT}/services"
REPOSITORIES = f"{web.PROJECT}/locations/<location>/repositories"
ACCOUNTS = f"{web.PROJECT}/serviceAccounts"
SECRETS = f"{web.PROJECT}/secrets"
BUCKETS = "/storage/v1/b"
REPOSITORY_TYPE = "google.devtools.artifactregistry.v1.Repository"
READ_SECRETS = {"roles/secretmanager.secretAccessor"}

web.add_documents(SERVICES, web.ENABLED, "services")
web.add_documents(REPOSITORIES, "repositories", "repositories")
web.add_documents(ACCOUNTS, "accounts", "accounts")
web.add_documents(SECRETS, "secrets", "secrets")
web.add_documents(BUCKETS, "buckets", "items")
web.add_documents(f"{BUCKETS}/<_bucket>/o", "objects", "items")
for kind, rule in (
    ("projects", "/v1/projects/<name>"),
    ("repositories", f"{REPOSITORIES}/<name>"),
    ("secrets", f"{SECRETS}/<name>"),
):
    web.add_policy(kind, f"{rule}:getIamPolicy", f"{rule}:setIamPolicy")
web.add_policy("buckets", f"{BUCKETS}/<name>/iam", f"{BUCKETS}/<name>/iam")


@api.get("/v1/projects/<name>")
def get_project(name: str) -> Json:
    return existing("projects", name)


@api.get(f"{web.PROJECT}/billingInfo")
def billing_info(_project: str) -> Json:
    """Answer that billing is enabled; nothing is ever charged."""
    return {"billingEnabled": True}


@api.post(f"{SERVICES}:batchEnable")
def enable_services(_project: str) -> Json:
    for name in web.body()["serviceIds"]:
        store.put(web.ENABLED, name, {"config": {"name": name}, "state": "ENABLED"})
    return web.finished({}, "google.api.serviceusage.v1.BatchEnableServicesResponse")


@api.post(REPOSITORIES)
def create_repository(**_: str) -> Json:
    """Make a repository; its images are in a real registry."""
    return web.finished(make("repositories", request.args["repositoryId"]), REPOSITORY_TYPE)


@api.patch(f"{REPOSITORIES}/<name>")
def change_repository(name: str, **_: str) -> Json:
    store.put("repositories", name, {**existing("repositories", name), **web.body()})
    return existing("repositories", name)


@api.post(ACCOUNTS)
def create_account(_project: str) -> Json:
    email = store.account(web.body()["accountId"])
    return make("accounts", email, projectId=store.project, email=email)


# --- secrets -------------------------------------------------------------------------------------


@api.post(SECRETS)
def create_secret(_project: str) -> Json:
    return make("secrets", request.args["secretId"])


@api.post(f"{SECRETS}/<name>:addVersion")
def add_secret_version(_project: str, name: str) -> Json:
    """Keep a secret's value in place of the one before."""
    data = base64.b64decode(web.body()["payload"]["data"], altchars=b"-_").decode()
    store.put("secret-values", f"secrets/{name}", {"1": data})
    return newest_secret_version(_project, name)


@api.get(f"{SECRETS}/<name>/versions")
def list_secret_versions(_project: str, name: str) -> Json:
    """Answer what is known of a secret's versions: gcloud asks before it deletes one."""
    return {"versions": [newest_secret_version(_project, name)]}


@api.get(f"{SECRETS}/<name>/versions/latest")
def newest_secret_version(_project: str, name: str) -> Json:
    return {"name": f"{existing('secrets', name)['name']}/versions/1", "state": "ENABLED"}


def secret_value(store: Store, name: str, version: str, email: str) -> str | None:
    """Return a version of a secret; None where the service account may not read it."""
    if f"serviceAccount:{email}" not in store.members(READ_SECRETS, f"secrets/{name}"):
        return None
    return (store.get("secret-values", f"secrets/{name}") or {}).get(version)


# --- the bucket ----------------------------------------------------------------------------------


@api.post(BUCKETS)
def create_bucket() -> Json:
    name = web.body()["name"]
    return make("buckets", name, kind="storage#bucket", id=name, name=name)


@api.get(f"{BUCKETS}/<bucket>/storageLayout")
def get_layout(bucket: str) -> Json:
    """Answer that the bucket has no real folders: gcloud asks before it removes one."""
    return {"bucket": bucket, "hierarchicalNamespace": {"enabled": False}}


@api.get(f"{BUCKETS}/<_bucket>/managedFolders")
def list_folders(_bucket: str) -> Json:
    return {"items": []}


@api.post("/upload/storage/v1/b/<bucket>/o")
def upload(bucket: str) -> Json:
    """Keep an object that comes in one request with what is said of it."""
    metadata, data = multipart(request.content_type or "", request.get_data())
    return _keep(bucket, metadata.get("name") or request.args["name"], data)


@api.post("/resumable/upload/storage/v1/b/<_bucket>/o")
def begin_upload(_bucket: str) -> tuple[Json, dict[str, str]]:
    """Say where to send an object, as from 5 MiB on; gcloud sends it in one part."""
    name = web.body().get("name") or request.args["name"]
    return {}, {"Location": f"{request.base_url}?name={name}"}


@api.put("/resumable/upload/storage/v1/b/<bucket>/o")
def upload_whole(bucket: str) -> Json:
    return _keep(bucket, request.args["name"], request.get_data())


def _keep(bucket: str, name: str, data: bytes) -> Json:
    about = {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1"}
    store.put("objects", name, {**about, "size": str(len(data))})
    store.put("object-bytes", f"objects/{name}", {"bytes": base64.b64encode(data).decode()})
    return existing("objects", name)


def multipart(content_type: str, content: bytes) -> tuple[Json, bytes]:
    """Return an object's metadata and bytes from a ``multipart/related`` body.

    gcloud ends lines in LF and puts the boundary in single quotes: readers of mail trip over both.
    """
    boundary = content_type.partition("boundary=")[2].strip("'\"").encode()
    _, metadata, data, _ = content.split(b"--" + boundary)
    head, file = (re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[1] for piece in (metadata, data))
    return json.loads(head), re.sub(rb"\r?\n\Z", b"", file)
