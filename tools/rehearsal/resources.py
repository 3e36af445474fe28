"""What setup.sh makes (APIs, repositories, accounts, secrets, a bucket), and who may call what."""

import base64
import json
import re
import secrets
import time

from flask import Response, request

from tools.rehearsal import web
from tools.rehearsal.web import Json, Store, api, existing, make, store

SERVICES = f"{web.PROJECT}/services"
REPOSITORIES = f"{web.PROJECT}/locations/<location>/repositories"
ACCOUNTS = f"{web.PROJECT}/serviceAccounts"
SECRETS = f"{web.PROJECT}/secrets"
BUCKETS = "/storage/v1/b"
LIFETIME_S = 3600  # of Google's access and ID tokens
INVOKE = "roles/run.invoker", "roles/owner"  # of those that have run.routes.invoke
READ_SECRETS = "roles/secretmanager.secretAccessor"

web.add_documents(SERVICES, web.ENABLED, "services")
web.add_documents(REPOSITORIES, "repositories", "repositories")
web.add_documents(ACCOUNTS, "accounts", "accounts")
web.add_documents(SECRETS, "secrets", "secrets")
web.add_documents(BUCKETS, "buckets", "items")
web.add_documents(f"{BUCKETS}/<_bucket>/o", "objects", "items")
web.add_policy("projects", "/v1/projects/<name>")
web.add_policy("repositories", f"{REPOSITORIES}/<name>")
web.add_policy("secrets", f"{SECRETS}/<name>")
web.add_policy("buckets", f"{BUCKETS}/<name>", read="/iam", write="/iam")
# What is always the same. gcloud asks a bucket for folders before it removes it.
for rule, answer in (
    (f"{web.PROJECT}/billingInfo", {"billingEnabled": True}),
    (f"{BUCKETS}/<_bucket>/storageLayout", {"hierarchicalNamespace": {"enabled": False}}),
    (f"{BUCKETS}/<_bucket>/managedFolders", {"items": []}),
):
    api.add_url_rule(rule, rule, lambda answer=answer, **_: answer)


@api.get("/v1/projects/<name>")
def get_project(name: str) -> Json:
    return existing("projects", name)


@api.post(f"{SERVICES}:batchEnable")
def enable_services(_project: str) -> Json:
    for name in web.body()["serviceIds"]:
        store.put(web.ENABLED, name, {"config": {"name": name}, "state": "ENABLED"})
    return web.finished({})


@api.post(REPOSITORIES)
def create_repository(**_: str) -> Json:
    """Make a repository; its images are in a real registry."""
    return web.finished(make("repositories", request.args["repositoryId"]))


@api.patch(f"{REPOSITORIES}/<name>")
def change_repository(name: str, **_: str) -> Json:
    store.put("repositories", name, {**existing("repositories", name), **web.body()})
    return existing("repositories", name)


@api.post(ACCOUNTS)
def create_account(_project: str) -> Json:
    email = store.account(web.body()["accountId"])
    return make("accounts", email, projectId=store.project, email=email)


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
    if f"serviceAccount:{email}" not in store.members(f"secrets/{name}", READ_SECRETS):
        return None
    return (store.get("secret-values", f"secrets/{name}") or {}).get(version)


@api.post(BUCKETS)
def create_bucket() -> Json:
    name = web.body()["name"]
    return make("buckets", name, kind="storage#bucket", id=name, name=name)


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


# https://cloud.google.com/run/docs/authenticating/service-to-service
def may_enter(store: Store, service: str, authorization: str) -> bool:
    """Return whether a service lets a caller in: anybody, or who has a role and a token for it."""
    invited = store.members(f"services/{service}", *INVOKE)
    claims = store.get("id-tokens", authorization.removeprefix("Bearer ")) or {}
    about = store.get("services", service) or {"status": {"url": ""}}
    is_known = claims.get("aud") == about["status"]["url"]
    return "allUsers" in invited or (is_known and f"serviceAccount:{claims['email']}" in invited)


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
