"""Cloud Storage: the buckets."""

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal import objects
from tools.rehearsal.answers import ApiError, Json, already_exists, body, now
from tools.rehearsal.apis import logs, storage_objects, uploads
from tools.rehearsal.policies import forget_policy, policy, set_policy
from tools.rehearsal.projects import project_number, project_of
from tools.rehearsal.state import store

api = Blueprint("storage", __name__)
api.register_blueprint(storage_objects.api)
api.register_blueprint(uploads.api)
api.register_blueprint(logs.files)

BUCKET = "/storage/v1/b/<bucket>"


@api.post("/storage/v1/b")
def create_bucket() -> Response:
    """Make a bucket."""
    project = project_of(store(), request.args.get("project", ""))["projectId"]
    wanted = body()
    name = wanted.get("name", "")
    if store().get(objects.BUCKETS, name):
        message = (
            "Your previous request to create the named bucket succeeded and you already own it."
        )
        raise already_exists(message)
    place = {"location": wanted.get("location", "US").upper()}
    store().put(objects.BUCKETS, name, _bucket(project, name) | wanted | place)
    return jsonify(store().get(objects.BUCKETS, name))


@api.get("/storage/v1/b")
def list_buckets() -> Response:
    """Answer the project's buckets."""
    project = project_of(store(), request.args.get("project", ""))["projectNumber"]
    prefix = request.args.get("prefix", "")
    found = [store().get(objects.BUCKETS, name) or {} for name in store().names(objects.BUCKETS)]
    mine = [each for each in found if each.get("projectNumber") == project]
    items = [each for each in mine if each["name"].startswith(prefix)]
    return jsonify(kind="storage#buckets", items=items)


@api.get(BUCKET)
def get_bucket(bucket: str) -> Response:
    """Answer one bucket."""
    return jsonify(objects.existing_bucket(store(), bucket))


@api.get(f"{BUCKET}/storageLayout")
def get_layout(bucket: str) -> Response:
    """Answer that the bucket has no real folders: gcloud asks before it removes one."""
    location = objects.existing_bucket(store(), bucket)["location"]
    return jsonify(
        kind="storage#storageLayout",
        bucket=bucket,
        location=location,
        locationType="region",
        hierarchicalNamespace={"enabled": False},
    )


@api.get(f"{BUCKET}/managedFolders")
def list_folders(bucket: str) -> Response:
    """Answer that the bucket has no managed folders."""
    objects.existing_bucket(store(), bucket)
    return jsonify(kind="storage#managedFolders", items=[])


@api.patch(BUCKET)
def patch_bucket(bucket: str) -> Response:
    """Change a bucket's settings."""
    objects.existing_bucket(store(), bucket)
    wanted = body()
    return jsonify(store().update(objects.BUCKETS, bucket, lambda kept: kept.update(wanted)))


@api.delete(BUCKET)
def delete_bucket(bucket: str) -> tuple[str, int]:
    """Remove a bucket, which must be empty."""
    objects.existing_bucket(store(), bucket)
    if objects.names(store(), bucket):
        raise ApiError(409, "The bucket you tried to delete is not empty.", "FAILED_PRECONDITION")
    store().delete(objects.BUCKETS, bucket)
    forget_policy(store(), f"buckets/{bucket}")
    return "", 204


@api.get(f"{BUCKET}/iam")
def get_policy(bucket: str) -> Response:
    """Answer the bucket's policy."""
    objects.existing_bucket(store(), bucket)
    return jsonify(_policy(bucket, policy(store(), f"buckets/{bucket}")))


@api.put(f"{BUCKET}/iam")
def put_policy(bucket: str) -> Response:
    """Keep the bucket's policy."""
    objects.existing_bucket(store(), bucket)
    return jsonify(_policy(bucket, set_policy(store(), f"buckets/{bucket}", body())))


def _bucket(project: str, name: str) -> Json:
    made = now()
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "projectNumber": project_number(project),
        "metageneration": "1",
        "locationType": "region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": made,
        "updated": made,
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}},
    }


def _policy(bucket: str, kept: Json) -> Json:
    resource = {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket}"}
    return {**resource, **kept}
