"""Cloud Storage: the bucket for source code, and what is uploaded to it."""

import base64
import hashlib
import itertools
import json
import re

from flask import Blueprint, request

from tools.rehearsal.resources import existing, make
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError, body, now, part

api = Blueprint("storage", __name__)

BUCKET = "/storage/v1/b/<bucket>"
_generations = itertools.count(1)


class Objects:
    """The bytes of all objects, by bucket and name."""

    def __init__(self) -> None:
        self.content: dict[tuple[str, str], bytes] = {}


@api.post("/storage/v1/b")
def create_bucket() -> Json:
    wanted = body()
    place = {"location": wanted.get("location", "US").upper(), "locationType": "region"}
    about = {"kind": "storage#bucket", "id": wanted["name"], "metageneration": "1"}
    times = {"timeCreated": now(), "updated": now(), "storageClass": "STANDARD"}
    return make("buckets", wanted["name"], {**about, **times, **wanted, **place})


@api.get("/storage/v1/b")
def list_buckets() -> Json:
    return {"kind": "storage#buckets", "items": part(Store).all("buckets")}


@api.get(BUCKET)
def get_bucket(bucket: str) -> Json:
    return existing("buckets", bucket)


@api.get(f"{BUCKET}/storageLayout")
def get_layout(bucket: str) -> Json:
    """Answer that the bucket has no real folders: gcloud asks before it removes one."""
    location = existing("buckets", bucket)["location"]
    flat = {"hierarchicalNamespace": {"enabled": False}}
    return {"bucket": bucket, "location": location, "locationType": "region", **flat}


@api.get(f"{BUCKET}/managedFolders")
def list_folders(bucket: str) -> Json:
    existing("buckets", bucket)
    return {"kind": "storage#managedFolders", "items": []}


@api.delete(BUCKET)
def delete_bucket(bucket: str) -> tuple[str, int]:
    """Remove a bucket, which must be empty."""
    existing("buckets", bucket)
    if list_objects(bucket)["items"]:
        raise ApiError(409, "The bucket you tried to delete is not empty.")
    part(Store).delete("buckets", bucket)
    return "", 204


@api.get(f"{BUCKET}/iam")
def get_policy(bucket: str) -> Json:
    existing("buckets", bucket)
    return part(Store).policy(f"buckets/{bucket}")


@api.put(f"{BUCKET}/iam")
def set_policy(bucket: str) -> Json:
    existing("buckets", bucket)
    return part(Store).set_policy(f"buckets/{bucket}", body())


@api.get(f"{BUCKET}/o")
def list_objects(bucket: str) -> Json:
    existing("buckets", bucket)
    prefix = request.args.get("prefix", "")
    found = [each for each in part(Store).all("objects") if each["bucket"] == bucket]
    items = [each for each in found if each["name"].startswith(prefix)]
    return {"kind": "storage#objects", "items": items}


@api.get(f"{BUCKET}/o/<path:name>")
def get_object(bucket: str, name: str) -> Json:
    return existing("objects", f"{bucket}/{name}")


@api.delete(f"{BUCKET}/o/<path:name>")
def delete_object(bucket: str, name: str) -> tuple[str, int]:
    existing("objects", f"{bucket}/{name}")
    part(Store).delete("objects", f"{bucket}/{name}")
    part(Objects).content.pop((bucket, name), None)
    return "", 204


@api.post("/upload/storage/v1/b/<bucket>/o")
@api.post("/resumable/upload/storage/v1/b/<bucket>/o")
def upload(bucket: str) -> Json:
    """Keep an object that comes in one request, as gcloud sends what has less than 5 MiB."""
    existing("buckets", bucket)
    if request.args.get("uploadType") != "multipart":
        raise ApiError(501, "The rehearsal takes uploads in one piece: is the source over 5 MiB?")
    metadata, data = parts(request.content_type or "", request.get_data())
    name = metadata.get("name") or request.args["name"]
    # S324: Cloud Storage's checksum is MD5; gcloud compares it.
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    known = {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(data))}
    known |= {"generation": str(next(_generations)), "md5Hash": base64.b64encode(digest).decode()}
    part(Objects).content[bucket, name] = data
    part(Store).put("objects", f"{bucket}/{name}", {**metadata, **known, "timeCreated": now()})
    return get_object(bucket, name)


def parts(content_type: str, content: bytes) -> tuple[Json, bytes]:
    """Return an object's metadata and bytes from a ``multipart/related`` body.

    Its lines may end in LF, as gcloud's do, or in CRLF, as the standard has it; and gcloud puts
    the boundary in single quotes, which are not part of it and which readers of headers trip over.
    """
    found = re.search(r"""boundary=["']?([^"';]+)""", content_type)
    mark = b"--" + (found[1] if found else "").encode()
    edge = rb"(?:^|\r?\n)" + re.escape(mark) + rb"(?:--)?[ \t]*(?:\r?\n|$)"
    pieces = re.split(edge, content)
    if len(pieces) < 4:  # noqa: PLR2004 (before, metadata, bytes, after)
        raise ApiError(400, "The upload's body does not have two parts.")
    metadata, data = (re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[-1] for piece in pieces[1:3])
    return json.loads(metadata), data
