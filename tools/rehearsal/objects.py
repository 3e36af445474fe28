"""The bytes of Cloud Storage's objects: files under one folder, named by bucket and object."""

import base64
import hashlib
import itertools
import time
from pathlib import Path
from urllib.parse import quote

from tools.rehearsal.answers import Json, not_found, now
from tools.rehearsal.store import Store

BUCKETS = "buckets"
KIND = "objects"
_generations = itertools.count(time.time_ns() // 1000)  # Cloud Storage counts microseconds too


def key(bucket: str, name: str) -> str:
    """Return the one name that an object's document and file go by."""
    return f"{bucket}/{name}"


def path_of(folder: Path, bucket: str, name: str) -> Path:
    """Return the file that holds, or would hold, the object's bytes."""
    return folder / "objects" / quote(key(bucket, name), safe="")


def keep(store: Store, folder: Path, bucket: str, name: str, *, data: bytes, kind: str) -> Json:
    """Write an object whole and return its resource."""
    path = path_of(folder, bucket, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with store.lock:
        draft.write_bytes(data)
        draft.replace(path)
        resource = _resource(bucket, name, data, kind)
        store.put(KIND, key(bucket, name), resource)
    return resource


def existing_bucket(store: Store, name: str) -> Json:
    """Return the bucket's resource.

    Raises:
        ApiError: 404 if there is no such bucket.
    """
    bucket = store.get(BUCKETS, name)
    if bucket is None:
        raise not_found("The specified bucket does not exist.")
    return bucket


def existing(store: Store, bucket: str, name: str) -> Json:
    """Return the object's resource.

    Raises:
        ApiError: 404 if there is no such object.
    """
    resource = store.get(KIND, key(bucket, name))
    if resource is None:
        raise not_found(f"No such object: {bucket}/{name}")
    return resource


def names(store: Store, bucket: str, prefix: str = "") -> list[str]:
    """Return the names of a bucket's objects that start with a prefix."""
    start = key(bucket, "")
    found = (each for each in store.names(KIND) if each.startswith(start + prefix))
    return [each.removeprefix(start) for each in found]


def remove(store: Store, folder: Path, bucket: str, name: str) -> None:
    """Remove an object.

    Raises:
        ApiError: 404 if there is no such object.
    """
    existing(store, bucket, name)
    store.delete(KIND, key(bucket, name))
    path_of(folder, bucket, name).unlink(missing_ok=True)


def _resource(bucket: str, name: str, data: bytes, kind: str) -> Json:
    generation = str(next(_generations))
    # S324: Cloud Storage's checksum is MD5; gcloud compares it.
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "name": name,
        "bucket": bucket,
        "generation": generation,
        "metageneration": "1",
        "contentType": kind,
        "size": str(len(data)),
        "md5Hash": base64.b64encode(digest).decode(),
        "storageClass": "STANDARD",
        "etag": f"{generation}=",
        "timeCreated": now(),
        "updated": now(),
    }
