"""The API described: an OpenAPI 3.1 document made from the routes, and a page that shows it.

The document is made when it is first asked for, and its library imported then: a container that
starts to answer a prediction does not wait for it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response

from imgserve import __version__, errors
from imgserve.backend.request import RequestTypes
from imgserve.contract import (
    DOCS,
    IMAGE_FIELD,
    MODEL_OPTION,
    OPENAPI,
    PROBLEM_TYPE,
    TOP_K,
    Choice,
    ChoosingRequest,
    ModelState,
    PredictAnswer,
    PredictRequest,
    Problem,
    Ready,
)

# What an operation answers, by status: a type of the contract, or words for a body without one.
Answers = Mapping[int, type[msgspec.Struct] | str]
View = TypeVar("View", bound=Callable[..., Any])

REF = "#/components/schemas/{name}"
PREDICT_PROBLEMS = (
    errors.InvalidRequest,
    errors.InvalidUrl,
    errors.AddressNotAllowed,
    errors.RequestTimeout,
    errors.PictureTooLarge,
    errors.TooManyPixels,
    errors.UnsupportedFormat,
    errors.DamagedPicture,
    errors.HeadTooLarge,
    errors.UnsupportedTransferEncoding,
    errors.PictureHostFailed,
    errors.Busy,
    errors.NotReady,
    errors.ModelUnavailable,
    errors.WorkerLost,
    errors.PictureHostTimeout,
)


def documented(
    answers: Answers, problems: tuple[type[errors.HttpError], ...] = (), **more: Any
) -> Callable[[View], View]:
    """Return a decorator that describes a view; its docstring becomes the summary.

    Args:
        answers: what it answers when all is well.
        problems: the errors it may answer.
        more: further fields of the OpenAPI operation.
    """

    def describe(view: View) -> View:
        operation = {"summary": (view.__doc__ or "").strip(), **more}
        operation["responses"] = _responses(answers, problems)
        view.operation = operation  # type: ignore[attr-defined]  # functions take attributes
        return view

    return describe


def _responses(
    answers: Answers, problems: tuple[type[errors.HttpError], ...]
) -> dict[str, dict[str, Any]]:
    responses: dict[str, dict[str, Any]] = {}
    for status, answer in answers.items():
        if isinstance(answer, str):
            responses[str(status)] = {"description": answer}
        else:
            responses[str(status)] = _body("application/json", answer, answer.__doc__ or "")
    for status in sorted({problem.status for problem in problems}):
        titles = [problem.title for problem in problems if problem.status == status]
        responses[str(status)] = _body(PROBLEM_TYPE, Problem, "; ".join(titles))
    return responses


def _body(media_type: str, struct: type[msgspec.Struct], description: str) -> dict[str, Any]:
    schema = {"$ref": REF.format(name=struct.__name__)}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def rule(path: str) -> str:
    """Return a path of the contract as Flask writes it: ``{model}`` is ``<model>``."""
    return path.replace("{", "<").replace("}", ">")


def prediction_body(types: RequestTypes) -> dict[str, Any]:
    """Return the parameters and the three kinds of body that a prediction takes."""
    _, schemas = msgspec.json.schema_components([types.options], ref_template=REF)
    options = schemas[types.options.__name__]["properties"]
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    upload = {
        "type": "object",
        "properties": {IMAGE_FIELD: picture, **options},
        "required": [IMAGE_FIELD],
    }
    content = {
        "application/json": {"schema": {"$ref": REF.format(name=types.body.__name__)}},
        "multipart/form-data": {"schema": upload},
        "image/*": {"schema": picture},
    }
    parameters = [
        {
            "name": name,
            "in": "query",
            "schema": schema,
            "description": "With any body." if name == MODEL_OPTION else "For an image/* body.",
        }
        for name, schema in options.items()
    ]
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def add_docs(app: Flask, most_classes: Callable[[], int | None]) -> None:
    """Add the document and its page, whose scripts come with a package, from no other host."""
    from flask_swagger_ui import get_swaggerui_blueprint

    @app.get(OPENAPI)
    @documented({200: "This document."})
    def openapi() -> Response:
        """Describe the API."""
        return Response(encoded_document(), content_type="application/json")

    @cache
    def encoded_document() -> bytes:
        return msgspec.json.encode(document(app, most_classes()))

    page = get_swaggerui_blueprint(DOCS, OPENAPI, config={"app_name": "imgserve"})
    app.register_blueprint(page)


def document(app: Flask, most_classes: int | None) -> dict[str, Any]:
    """Return the OpenAPI document of an application's documented views.

    ``most_classes`` is what ``top_k`` can be at most.
    """
    from apispec import APISpec
    from apispec_webframeworks.flask import FlaskPlugin

    spec = APISpec("imgserve", __version__, "3.1.0", plugins=[FlaskPlugin()])
    kinds = (PredictRequest, ChoosingRequest, PredictAnswer, ModelState, Choice, Ready, Problem)
    _, components = msgspec.json.schema_components(kinds, ref_template=REF)
    for name, schema in components.items():
        spec.components.schema(name, schema)
    for route in app.url_map.iter_rules():
        view = app.view_functions[route.endpoint]
        operation = getattr(view, "operation", None)
        if operation is not None:
            methods = (route.methods or set()) - {"HEAD", "OPTIONS"}
            operations = {method.lower(): {**operation} for method in methods}
            in_path = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in route.arguments
            ]
            spec.path(view=view, app=app, operations=operations, parameters=in_path)
    described: dict[str, Any] = spec.to_dict()
    if most_classes is not None:
        _bound(described, most_classes)
    return described


def _bound(node: Any, most_classes: int) -> None:
    """Say of each ``top_k`` in a document how large it can be."""
    if isinstance(node, dict):
        if node.get("name") == TOP_K:
            node["schema"]["maximum"] = most_classes
        if isinstance(node.get(TOP_K), dict):
            node[TOP_K]["maximum"] = most_classes
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _bound(part, most_classes)
