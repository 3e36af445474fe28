"""Cloud Storage: the objects in the buckets."""

from flask import Blueprint, Response, jsonify, request, send_file

from tools.rehearsal import objects
from tools.rehearsal.state import state, store

api = Blueprint("objects", __name__)

OBJECTS = "/storage/v1/b/<bucket>/o"
OBJECT = f"{OBJECTS}/<path:name>"


@api.get(OBJECTS)
def list_objects(bucket: str) -> Response:
    """Answer the bucket's objects, and the folders where a delimiter is given."""
    objects.existing_bucket(store(), bucket)
    prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
    found = objects.names(store(), bucket, prefix)
    folders = {folder for name in found if (folder := _folder(name, prefix, delimiter))}
    shown = [name for name in found if not _folder(name, prefix, delimiter)]
    items = [objects.existing(store(), bucket, name) for name in shown]
    return jsonify(kind="storage#objects", items=items, prefixes=sorted(folders))


@api.get(OBJECT)
def get_object(bucket: str, name: str) -> Response:
    """Answer an object's resource, or its bytes where these are asked for."""
    resource = objects.existing(store(), bucket, name)
    if request.args.get("alt") == "media":
        path = objects.path_of(state().folder, bucket, name)
        return send_file(path, mimetype=resource["contentType"])
    return jsonify(resource)


@api.post(f"{OBJECT}/rewriteTo/b/<other>/o/<path:copy>")
def copy_object(bucket: str, name: str, other: str, copy: str) -> Response:
    """Copy an object, which takes one request however large it is."""
    resource = objects.existing(store(), bucket, name)
    objects.existing_bucket(store(), other)
    folder = state().folder
    data = objects.path_of(folder, bucket, name).read_bytes()
    made = objects.keep(store(), folder, other, copy, data=data, kind=resource["contentType"])
    size = made["size"]
    return jsonify(
        kind="storage#rewriteResponse",
        totalBytesRewritten=size,
        objectSize=size,
        done=True,
        resource=made,
    )


@api.delete(OBJECT)
def delete_object(bucket: str, name: str) -> tuple[str, int]:
    """Remove an object."""
    objects.remove(store(), state().folder, bucket, name)
    return "", 204


def _folder(name: str, prefix: str, delimiter: str) -> str:
    """Return the folder that stands for an object in a list, empty for the object itself."""
    rest = name.removeprefix(prefix)
    if not delimiter or delimiter not in rest:
        return ""
    return prefix + rest.partition(delimiter)[0] + delimiter
