"""What a request asks for: a picture, by URL or in the body, and options."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from flask import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from imgserve.contract import (
    IMAGE_FIELD,
    ChoosingOptions,
    ChoosingRequest,
    PredictOptions,
    PredictRequest,
)
from imgserve.errors import InvalidRequest, PictureTooLarge

JSON_LIMIT_BYTES = 64 * 1024
KEY = "key"  # where Google's API Gateway takes its API key, and passes it on
HINT = (
    'send JSON {"url": "https://..."} with Content-Type: application/json, or the picture itself: '
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
    if request.mimetype.startswith("image/"):
        data = _within(request.get_data(cache=False), limit_bytes)
        return Asked(_options(request.args, form, ignored=KEY), data=data)
    _refuse_query(request, form)
    if request.mimetype == "application/json":
        return _by_url(request.get_data(cache=False), form)
    if request.mimetype == "multipart/form-data":
        return _by_form(request, form, limit_bytes)
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
    try:
        files = request.files.getlist(IMAGE_FIELD)
    except RequestEntityTooLarge as exc:
        if (request.content_length or 0) > (request.max_content_length or 0):
            raise
        raise InvalidRequest(f"the form has too many fields, or too long a one: {HINT}") from exc
    if len(files) != 1:
        raise InvalidRequest(f"the form needs one file field {IMAGE_FIELD!r}: {HINT}")
    return Asked(_options(request.form, form), data=_within(files[0].stream.read(), limit_bytes))


def _options(values: MultiDict[str, str], form: Form, ignored: str = "") -> PredictOptions:
    given = {name: each for name, each in values.to_dict(flat=False).items() if name != ignored}
    repeated = [name for name, each in given.items() if len(each) > 1]
    if repeated:
        raise InvalidRequest(f"option {repeated[0]!r} is given more than once")
    try:
        flat = {name: each[0] for name, each in given.items()}
        return msgspec.convert(flat, form.options, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"an option cannot be used ({exc})") from exc


def _refuse_query(request: Request, form: Form) -> None:
    misplaced = set(request.args) & set(form.options.__struct_fields__)
    if misplaced:
        raise InvalidRequest(
            f"{min(misplaced)!r} belongs into the body here: only a body of type image/* leaves "
            "options to the address"
        )


def _within(data: bytes, limit_bytes: int) -> bytes:
    if not data:
        raise InvalidRequest(f"the picture is empty: {HINT}")
    if len(data) > limit_bytes:
        raise PictureTooLarge(
            f"the picture has {len(data)} bytes, {limit_bytes} are allowed: send a smaller one"
        )
    return data
