"""Cloud Storage: objects on their way in, whole or in pieces."""

import json
import re
import secrets
from pathlib import Path

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal import objects
from tools.rehearsal.answers import Json, body, invalid, not_found
from tools.rehearsal.state import state, store

api = Blueprint("uploads", __name__)

KIND = "uploads"
UPLOADS = ("/upload/storage/v1/b/<bucket>/o", "/resumable/upload/storage/v1/b/<bucket>/o")
BINARY = "application/octet-stream"


@api.post(UPLOADS[0])
@api.post(UPLOADS[1])
def begin(bucket: str) -> Response:
    """Keep an object that comes whole, or begin one that comes in pieces."""
    objects.existing_bucket(store(), bucket)
    kind = request.args.get("uploadType")
    if kind == "resumable":
        return _begin_pieces(bucket)
    if kind == "multipart":
        metadata, data = parts(request.content_type or "", request.get_data())
        return jsonify(_keep(bucket, metadata, data))
    raise invalid(f"The rehearsal has no uploads of type {kind!r}.")


@api.put(UPLOADS[0])
@api.put(UPLOADS[1])
def go_on(bucket: str) -> Response:
    """Take the next piece of an object; the last one makes it."""
    session = request.args.get("upload_id", "")
    upload = store().get(KIND, session)
    if upload is None:
        raise not_found(f"No such upload: {session}")
    file = _pieces(session)
    start, total = _range(request.headers.get("Content-Range", "bytes 0-*/*"), file)
    with file.open("r+b") as pieces:
        pieces.seek(start)
        pieces.write(request.get_data())
        pieces.truncate()
    if file.stat().st_size != total:
        return _resume(file.stat().st_size)
    made = _keep(bucket, upload["metadata"], file.read_bytes())
    store().delete(KIND, session)
    file.unlink()
    return jsonify(made)


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
        raise invalid("The upload's body does not have two parts.")
    _, metadata = _head_and_rest(pieces[1])
    head, data = _head_and_rest(pieces[2])
    kind = re.search(r"(?im)^content-type:\s*(\S+)", head)
    return {"contentType": kind[1] if kind else BINARY, **json.loads(metadata)}, data


def _head_and_rest(piece: bytes) -> tuple[str, bytes]:
    head, *rest = re.split(rb"\r?\n\r?\n", piece, maxsplit=1)
    return head.decode(), b"".join(rest)


def _begin_pieces(bucket: str) -> Response:
    session = secrets.token_hex(16)
    kind = request.headers.get("X-Upload-Content-Type", BINARY)
    metadata = {"contentType": kind, "name": request.args.get("name", ""), **body()}
    store().put(KIND, session, {"bucket": bucket, "metadata": metadata})
    file = _pieces(session)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    answer = jsonify({})
    answer.headers["Location"] = f"{request.base_url}?uploadType=resumable&upload_id={session}"
    return answer


def _range(text: str, file: Path) -> tuple[int, int | None]:
    """Return where a piece begins and the object's size, None while that is not known."""
    found = re.fullmatch(r"bytes (?:(\d+)-(?:\d+|\*)|\*)/(\d+|\*)", text)
    if found is None:
        raise invalid(f"Content-Range cannot be understood: {text!r}")
    start = file.stat().st_size if found[1] is None else int(found[1])
    whole = start + len(request.get_data()) if text.startswith("bytes 0-*") else None
    return start, whole if found[2] == "*" else int(found[2])


def _resume(size: int) -> Response:
    answer = Response(status=308)
    if size:
        answer.headers["Range"] = f"bytes=0-{size - 1}"
    return answer


def _keep(bucket: str, metadata: Json, data: bytes) -> Json:
    name = metadata.get("name") or request.args.get("name", "")
    kind = metadata.get("contentType", BINARY)
    return objects.keep(store(), state().folder, bucket, name, data=data, kind=kind)


def _pieces(session: str) -> Path:
    return state().folder / "uploads" / session
