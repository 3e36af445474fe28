"""What a request asks for: a picture, by URL or in the body, and options."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from flask import Request

from imgserve.contract import (
    IMAGE_FIELD,
    ChoosingOptions,
    ChoosingRequest,
    PredictOptions,
    PredictRequest,
)
from imgserve.errors import InvalidRequest, PictureTooLarge

JSON_LIMIT_BYTES = 64 * 1024
HINT = (
    'send JSON {"url": "https://..."}, or the picture itself: '
    f"multipart/form-data with a file field {IMAGE_FIELD!r}, or a body of type image/*"
)


class Form(NamedTuple):
    """What a route takes: options beside a picture, and the same with a URL as a JSON body."""

    options: type[PredictOptions]
    body: type[PredictRequest] | type[ChoosingRequest]


ONE_MODEL = Form(PredictOptions, PredictRequest)
CHOOSING = Form(ChoosingOptions, ChoosingRequest)


@dataclass(frozen=True)
class Asked:
    """A prediction that was asked for: exactly one of ``url`` and ``data`` is set."""

    options: PredictOptions
    url: str | None = None
    data: bytes | None = None

    @property
    def model(self) -> str | None:
        """Return the model that the request names, if it names one."""
        return getattr(self.options, "model", None)


def asked(request: Request, form: Form, limit_bytes: int) -> Asked:
    """Return what a request asks for.

    Args:
        request: to a route that predicts.
        form: what the route takes.
        limit_bytes: the largest picture.

    Raises:
        InvalidRequest: the body is not one of the three accepted kinds.
        PictureTooLarge: the picture has more than ``limit_bytes`` bytes.
    """
    if request.mimetype == "application/json":
        return _by_url(request.get_data(cache=False), form)
    if request.mimetype == "multipart/form-data":
        return _by_form(request, form, limit_bytes)
    if request.mimetype.startswith("image/"):
        data = _within(request.get_data(cache=False), limit_bytes)
        return Asked(_options(request.args, form), data=data)
    given = f"of type {request.mimetype}" if request.mimetype else "without a type"
    raise InvalidRequest(f"a body {given} cannot be used: {HINT}")


def _by_url(body: bytes, form: Form) -> Asked:
    if len(body) > JSON_LIMIT_BYTES:
        raise InvalidRequest(f"the JSON body has more than {JSON_LIMIT_BYTES} bytes: {HINT}")
    try:
        request = msgspec.json.decode(body, type=form.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise InvalidRequest(f"the JSON body cannot be used ({exc}): {HINT}") from exc
    return Asked(request, url=request.url)


def _by_form(request: Request, form: Form, limit_bytes: int) -> Asked:
    file = request.files.get(IMAGE_FIELD)
    if file is None:
        raise InvalidRequest(f"the form has no file field {IMAGE_FIELD!r}: {HINT}")
    return Asked(_options(request.form, form), data=_within(file.stream.read(), limit_bytes))


def _options(values: Mapping[str, Any], form: Form) -> PredictOptions:
    try:
        return msgspec.convert(dict(values), form.options, strict=False)
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
