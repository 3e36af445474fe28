"""The API as an OpenAPI 3.1 document."""

from collections import defaultdict
from typing import Any, NamedTuple

import msgspec

from imgserve import __version__, contract
from imgserve.errors import HttpError, http_errors

REF = "#/components/schemas/{name}"
# Any error, but for paths and methods that are not there and for a fault of ours.
PREDICT_PROBLEMS = [kind for kind in http_errors().values() if kind.status not in {404, 405, 500}]


class Operation(NamedTuple):
    method: str
    path: str
    summary: str
    answer: type[msgspec.Struct] | str  # a type of the contract, or words for a body without one
    problems: tuple[type[HttpError], ...] = ()  # that it may answer, beside those of a prediction
    takes: type[contract.PredictRequest] | None = None  # as JSON, where it predicts


def document(operations: list[Operation], most_classes: int | None) -> dict[str, Any]:
    """Return the OpenAPI document of these operations; ``top_k`` is at most ``most_classes``."""
    named = [kind for operation in operations for kind in (operation.takes, operation.answer)]
    kinds = dict.fromkeys(kind for kind in [*named, contract.Problem] if isinstance(kind, type))
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    for schema in schemas.values():
        if contract.TOP_K in schema["properties"] and most_classes is not None:
            schema["properties"][contract.TOP_K]["maximum"] = most_classes
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        path = paths[operation.path]
        path[operation.method.lower()] = _described(operation, schemas)
        if "{model}" in operation.path:
            in_path = {"name": "model", "in": "path", "required": True}
            path["parameters"] = [{**in_path, "schema": {"type": "string"}}]
    info = {"title": "imgserve", "version": __version__}
    components = {"schemas": schemas}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _described(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    answer, problems = operation.answer, [*operation.problems]
    described: dict[str, Any] = {"summary": operation.summary}
    if operation.takes:
        problems += PREDICT_PROBLEMS
        described |= _prediction(operation.takes, schemas)
    if isinstance(answer, str):
        responses: dict[str, Any] = {"200": {"description": answer}}
    else:
        responses = {"200": _body("application/json", answer, answer.__doc__ or "")}
    for status in sorted({problem.status for problem in problems}):
        titles = [problem.title for problem in problems if problem.status == status]
        responses[str(status)] = _body(contract.PROBLEM_TYPE, contract.Problem, "; ".join(titles))
    return {**described, "responses": responses}


def _body(media_type: str, struct: type[msgspec.Struct], description: str) -> dict[str, Any]:
    schema = {"$ref": REF.format(name=struct.__name__)}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _prediction(kind: type[contract.PredictRequest], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters and the three kinds of body that a prediction takes."""
    options = dict(schemas[kind.__name__]["properties"])
    del options[contract.URL_FIELD]
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    fields = {contract.IMAGE_FIELD: picture, **options}
    upload = {"type": "object", "properties": fields, "required": [contract.IMAGE_FIELD]}
    content = {
        "application/json": {"schema": {"$ref": REF.format(name=kind.__name__)}},
        "multipart/form-data": {"schema": upload},
        "image/*": {"schema": picture},
    }
    goes_with = dict.fromkeys(options, "For an image/* body.")
    goes_with[contract.MODEL_OPTION] = "With any body."
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": goes_with[name]}
        for name, schema in options.items()
    ]
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}
