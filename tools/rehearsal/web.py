"""How the stand-ins answer: one app for all of Google's hosts, errors in Google's form."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from flask import Blueprint, Flask, current_app, request

from tools.rehearsal.store import Json, Store

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# The APIs that a new project has not enabled and whose calls Google then refuses.
ASKED_FIRST = {"artifactregistry", "cloudbuild", "iam", "run", "secretmanager"}
ENABLED = "enabled-apis"
Part = TypeVar("Part")


class ApiError(Exception):
    """A request that an API refuses."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def answer(self) -> tuple[Json, int]:
        """Return the error as gcloud reads it."""
        return {"error": {"code": self.code, "message": str(self)}}, self.code


def body() -> Json:
    """Return the request's JSON object; an empty one where there is none."""
    content = request.get_json(force=True, silent=True)
    return content if isinstance(content, dict) else {}


def now() -> str:
    """Return the time in RFC 3339 form, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def finished(response: Json, kind: str = "google.protobuf.Empty") -> Json:
    """Return a long-running operation that has ended well with a response of this type."""
    typed = {"@type": f"type.googleapis.com/{kind}", **response}
    found = re.search(r"projects/[^/]+/locations/[^/]+/", request.path)  # the place, if it has one
    return {"name": f"{found[0] if found else ''}operations/done", "done": True, "response": typed}


def part(kind: type[Part]) -> Part:
    """Return the one object of a class that the answering app was made with."""
    found: Part = current_app.extensions[kind.__name__]
    return found


# --- documents -----------------------------------------------------------------------------------


def existing(kind: str, name: str) -> Json:
    """Return a document; ApiError 404 where there is none of that name."""
    found = part(Store).get(kind, name)
    if found is None:
        raise ApiError(404, f"{kind}: {name!r} was not found.")
    return found


def make(kind: str, name: str, document: Json) -> Json:
    """Keep a new document and return it; ApiError 409 where there is one of that name."""
    if part(Store).get(kind, name) is not None:
        raise ApiError(409, f"{kind}: {name!r} already exists.")
    part(Store).put(kind, name, document)
    return document


def add_documents(
    blueprint: Blueprint,
    rule: str,
    kind: str,
    listed: str,
    after_delete: Callable[[str], None] = lambda _: None,
) -> None:
    """Add the requests by which documents are listed (all, or by labels), read and deleted.

    ``rule`` is one document's address, which ends in `<name>`, ``listed`` what their list is called
    in an answer; ``after_delete`` is told the name of one that was deleted.
    """

    def listing(**_: str) -> Json:
        terms = request.args.get("labelSelector", "").split(",")  # name = value, name = value
        labels = dict(term.replace(" ", "").split("=", 1) for term in terms if term)
        found = part(Store).all(kind)
        if labels:
            found = [one for one in found if labels.items() <= one["metadata"]["labels"].items()]
        return {listed: found, "metadata": {}}  # gcloud looks there for more revisions

    def delete(name: str, **_: str) -> Json:
        existing(kind, name)
        part(Store).delete(kind, name)
        after_delete(name)
        return finished({})

    rules = blueprint.add_url_rule
    rules(rule[: rule.rindex("/")], f"list_{kind}", listing)
    rules(rule, f"delete_{kind}", delete, methods=["DELETE"])
    rules(rule, f"get_{kind}", lambda name, **_: existing(kind, name))


def add_policy(blueprint: Blueprint, rule: str, kind: str) -> None:
    """Add the two requests by which a document's policy is read and written."""

    def get_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return part(Store).policy(f"{kind}/{name}")

    def set_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return part(Store).set_policy(f"{kind}/{name}", body().get("policy") or body())

    rules = blueprint.add_url_rule
    if kind == "buckets":
        rules(f"{rule}/iam", f"get_{kind}_policy", get_policy)
        rules(f"{rule}/iam", f"set_{kind}_policy", set_policy, methods=["PUT"])
    else:
        rules(f"{rule}:getIamPolicy", f"get_{kind}_policy", get_policy, methods=["GET", "POST"])
        rules(f"{rule}:setIamPolicy", f"set_{kind}_policy", set_policy, methods=["POST"])


# --- the app -------------------------------------------------------------------------------------


def create_app(blueprints: Iterable[Blueprint], parts: Iterable[object]) -> Flask:
    """Return the app that answers every host: `run.test/v1/...` is its path `/run/v1/...`."""
    app = Flask("rehearsal")
    app.extensions.update({type(one).__name__: one for one in parts})
    app.before_request(_refuse_project)
    app.register_error_handler(ApiError, ApiError.answer)
    app.register_error_handler(404, _unknown)
    app.register_error_handler(405, _unknown)
    for blueprint in blueprints:
        app.register_blueprint(blueprint, url_prefix=f"/{blueprint.name}")
    app.wsgi_app = _by_host(app.wsgi_app)  # type: ignore[method-assign, assignment]  # Flask's documented way
    return app


def _by_host(app: "WSGIApplication") -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        label = environ.get("HTTP_HOST", "").partition(".test")[0].rpartition(".")[2]
        api = label.rpartition("-")[2]  # "us-central1-run" is Cloud Run of one region
        environ["PATH_INFO"] = f"/{api}{environ['PATH_INFO']}"
        return app(environ, start_response)

    return answer


def _refuse_project() -> None:
    """Refuse another project than ours, and an API that ours has not enabled."""
    store = part(Store)
    # "-" is gcloud's name for the project that a service account's address names.
    found = re.search(r"/(?:projects|namespaces)/(?!-/)([^/:]+)", request.path)
    if found and found[1] not in {store.project, store.project_number}:
        message = f"The caller has no permission on project {found[1]!r} (or it does not exist)."
        raise ApiError(403, message)
    api = request.path.split("/")[1]
    if found and api in ASKED_FIRST and store.get(ENABLED, f"{api}.googleapis.com") is None:
        raise ApiError(
            403,
            f"The API {api}.googleapis.com has not been used in project {store.project} before or "
            f"it is disabled. Enable it with: gcloud services enable {api}.googleapis.com",
        )


def _unknown(_: Exception) -> tuple[Json, int]:
    message = f"The rehearsal does not answer {request.method} {request.host}: {request.path}"
    current_app.logger.warning(message)
    return ApiError(501, message).answer()
