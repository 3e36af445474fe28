"""Bring the files that models are made from to this machine: a path, ``https://`` or ``gs://``."""

import hashlib
import os
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
import torch

from imgserve.errors import OriginalInvalid
from imgserve.machine import storage_emulator

GOOGLE_STORAGE = "https://storage.googleapis.com"
READ_STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
TIMEOUT_S = 60
PART_BYTES = 2**20


def bring(source: str, sha256: str, folder: Path) -> Path:
    """Return a local file; ``folder`` keeps what is downloaded.

    The source is a path, or an address that begins with ``https://`` or ``gs://``. ``sha256`` is
    what the file's hash must be; it may be empty, but not for ``https://``. OriginalInvalid where
    the file is not there, or is another than the hash says.
    """
    scheme = source.partition("://")[0] if "://" in source else ""
    if not scheme:
        path = Path(source)
        if not path.is_file():
            raise OriginalInvalid(f"{source} is not there")
    elif scheme == "https":
        path = _download(source, sha256, folder)
    elif scheme == "gs":
        path = _from_storage(source, folder)
    else:
        raise OriginalInvalid(f"{source} cannot be used: give a path, https:// or gs://")
    if sha256 and (found := digest(path)) != sha256.lower():
        if scheme:
            path.unlink()
        raise OriginalInvalid(f"{source} has another SHA-256 than sha256 says: {found}")
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, sha256: str, folder: Path) -> Path:
    if not sha256:
        raise OriginalInvalid(f"{url} needs its hash beside it: sha256 = '...' (sha256sum FILE)")
    path = folder / f"{sha256[:16].lower()}-{Path(urlsplit(url).path).name}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not path.exists():
            torch.hub.download_url_to_file(url, str(path))
    except OSError as exc:  # urllib's and socket's errors are OSErrors
        raise OriginalInvalid(f"{url} could not be downloaded: {exc}") from exc
    return path


def _from_storage(source: str, folder: Path) -> Path:
    """Return an object of Cloud Storage, as whoever is signed in here or the build's account."""
    from google.auth.exceptions import GoogleAuthError  # here: only this needs it

    bucket, _, name = source.removeprefix("gs://").partition("/")
    path = folder / Path(name).name
    folder.mkdir(parents=True, exist_ok=True)
    emulator = storage_emulator()
    place = f"storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    url = f"{emulator or GOOGLE_STORAGE}/{place}"
    draft = path.with_suffix(f"{path.suffix}.{os.getpid()}.partial")
    try:
        headers = {} if emulator else {"Authorization": f"Bearer {_token()}"}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            with draft.open("wb") as file:
                for part in answer.iter_content(PART_BYTES):
                    file.write(part)
        draft.replace(path)
    except (OSError, GoogleAuthError) as exc:  # requests' errors are OSErrors
        draft.unlink(missing_ok=True)
        raise OriginalInvalid(
            f"{source} could not be read ({exc}): sign in with an account that may, "
            "gcloud auth application-default login; in a build, run deployment/setup.sh again"
        ) from exc
    return path


def _token() -> str:
    import google.auth
    from google.auth.transport.requests import Request

    credentials, _ = google.auth.default(scopes=[READ_STORAGE])
    credentials.refresh(Request())  # type: ignore[no-untyped-call]
    return str(credentials.token)
