"""What a request asks for: a picture, by URL or in the body, and options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Request

from imgserve.contract import IMAGE_FIELD, PredictOptions, PredictRequest
from imgserve.errors import InvalidRequest, PictureTooLarge

JSON_LIMIT_BYTES = 64 * 1024
HINT = (
    'send JSON {"url": "https://..."}, or the picture itself: '
    f"multipart/form-data with a file field {IMAGE_FIELD!r}, or a body of type image/*"
)


@dataclass(frozen=True)
class Asked:
    """A prediction that was asked for: exactly one of ``url`` and ``data`` is set."""

    options: PredictOptions
    url: str | None = None
    data: bytes | None = None


def asked(request: Request, limit_bytes: int) -> Asked:
    """Return what a request asks for.

    Raises:
        InvalidRequest: the body is not one of the three accepted forms.
        PictureTooLarge: the picture has more than ``limit_bytes`` bytes.
    """
    if request.mimetype == "application/json":
        return _by_url(request.get_data(cache=False))
    if request.mimetype == "multipart/form-data":
        return _by_form(request, limit_bytes)
    if request.mimetype.startswith("image/"):
        data = _within(request.get_data(cache=False), limit_bytes)
        return Asked(_options(request.args), data=data)
    given = f"of type {request.mimetype}" if request.mimetype else "without a type"
    raise InvalidRequest(f"a body {given} cannot be used: {HINT}")


def _by_url(body: bytes) -> Asked:
    if len(body) > JSON_LIMIT_BYTES:
        raise InvalidRequest(f"the JSON body has more than {JSON_LIMIT_BYTES} bytes: {HINT}")
    try:
        request = msgspec.json.decode(body, type=PredictRequest)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise InvalidRequest(f"the JSON body cannot be used ({exc}): {HINT}") from exc
    return Asked(request, url=request.url)


def _by_form(request: Request, limit_bytes: int) -> Asked:
    file = request.files.get(IMAGE_FIELD)
    if file is None:
        raise InvalidRequest(f"the form has no file field {IMAGE_FIELD!r}: {HINT}")
    return Asked(_options(request.form), data=_within(file.stream.read(), limit_bytes))


def _options(values: Mapping[str, Any]) -> PredictOptions:
    try:
        return msgspec.convert(dict(values), PredictOptions, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"an option cannot be used ({exc})") from exc


def _within(data: bytes, limit_bytes: int) -> bytes:
    if not data:
        raise InvalidRequest(f"the picture is empty: {HINT}")
    if len(data) > limit_bytes:
        raise PictureTooLarge(
            f"the picture has {len(data)} bytes, {limit_bytes} are allowed: send a smaller one"
        )
    return data
