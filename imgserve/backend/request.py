"""Parse a request: a picture, by URL or in the body, and options."""

import io
from codecs import BOM_UTF8
from typing import IO, Any

import msgspec
from flask import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from imgserve.contract import IMAGE_FIELD, MODEL_OPTION, URL_FIELD, ChoosingRequest, PredictRequest
from imgserve.errors import InvalidRequest, PictureTooLarge
from imgserve.pictures.address import data_in
from imgserve.units import mebibytes

KEY = "key"  # where Google's API Gateway takes its API key, and passes it on
HOW_TO_SEND = (
    'send JSON {"url": "https://..."} with Content-Type: application/json, or the picture itself: '
    f"multipart/form-data with a file field {IMAGE_FIELD!r}, or a body of type image/*"
)


class PictureRequest(Request):
    """A request whose uploads stay in memory: they are small, and the disk may be read-only."""

    max_form_parts = 16

    def _get_file_stream(self, *_args: Any, **_kwargs: Any) -> IO[bytes]:
        return io.BytesIO()


Parsed = tuple[PredictRequest, bytes | str]  # what is asked for; the picture, or its address


def parse_request(request: Request, kind: type[PredictRequest], limit_bytes: int) -> Parsed:
    """Return what is asked for; InvalidRequest or PictureTooLarge where it cannot be used."""
    is_raw = request.mimetype.startswith("image/")
    if is_raw:
        parsed: Parsed = _options(request.args, kind, KEY), request.get_data(cache=False)
    elif request.mimetype == "application/json":
        parsed = _by_url(request, kind)
    elif request.mimetype == "multipart/form-data":
        parsed = _by_form(request, kind)
    else:
        given = f"of type {request.mimetype}" if request.mimetype else "without a type"
        raise InvalidRequest(f"a body {given} cannot be used: {HOW_TO_SEND}")
    request.environ["wsgi.input"].close()  # which has the picture once more
    options, picture = parsed
    if not is_raw:
        options = _with_address(options, request.args)
    if isinstance(picture, bytes):
        _check_size(len(picture), limit_bytes)
    return options, picture


def _by_url(request: Request, kind: type[PredictRequest]) -> Parsed:
    body = request.get_data(cache=False).removeprefix(BOM_UTF8)
    try:
        given = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise InvalidRequest(f"the JSON body cannot be used ({exc}): {HOW_TO_SEND}") from exc
    if (data := data_in(given.url)) is None:
        return given, given.url
    return msgspec.structs.replace(given, url=""), data  # which held the picture once more


def _by_form(request: Request, kind: type[PredictRequest]) -> Parsed:
    try:
        files = request.files.getlist(IMAGE_FIELD)
    except RequestEntityTooLarge as exc:  # in its parts: the server limits the whole
        raise InvalidRequest(
            f"the form has too many fields, or too long a one: {HOW_TO_SEND}"
        ) from exc
    if len(files) != 1:
        raise InvalidRequest(f"the form needs one file field {IMAGE_FIELD!r}: {HOW_TO_SEND}")
    stream = files[0].stream
    assert isinstance(stream, io.BytesIO), "uploads stay in memory"  # noqa: S101
    return _options(request.form, kind), stream.getvalue()  # no copy, as a read would be


def _options(
    values: MultiDict[str, str], kind: type[PredictRequest], ignored: str = ""
) -> PredictRequest:
    given = values.to_dict(flat=False)
    given.pop(ignored, None)
    if URL_FIELD in given:
        raise InvalidRequest(f"{URL_FIELD!r} belongs into a JSON body: {HOW_TO_SEND}")
    for name, texts in given.items():
        if len(texts) > 1:
            raise InvalidRequest(f"option {name!r} is given more than once")
    flat = {name: texts[0] for name, texts in given.items()}
    try:
        return msgspec.convert(flat | {URL_FIELD: ""}, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"an option cannot be used ({exc})") from exc


def _with_address(options: PredictRequest, query: MultiDict[str, str]) -> PredictRequest:
    """Return options with the model that the address names, where the route takes one."""
    if misplaced := set(query) & set(options.__struct_fields__) - {MODEL_OPTION, URL_FIELD}:
        raise InvalidRequest(
            f"{min(misplaced)!r} belongs into the body here: only a body of type image/* leaves "
            "options to the address"
        )
    if not isinstance(options, ChoosingRequest):
        return options
    named = {*query.getlist(MODEL_OPTION), options.model} - {None}
    if len(named) > 1:
        raise InvalidRequest(f"more than one model is named: {', '.join(sorted(map(str, named)))}")
    return msgspec.structs.replace(options, model=next(iter(named), None))


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if not size_bytes:
        raise InvalidRequest("the picture is empty: choose it again")
    if size_bytes > limit_bytes:
        raise PictureTooLarge(
            f"the picture has {mebibytes(size_bytes)}; at most {mebibytes(limit_bytes)} are "
            "accepted: use a smaller one"
        )
