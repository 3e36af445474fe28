"""How the stand-ins answer: what they know, and the requests of all of Google's hosts."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, abort, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

Json = dict[str, Any]

ETAG = "BwAAAAAAAAA="  # gcloud wants one and has no more than one caller to protect from


class Store:
    """Documents of one project, kept as text: nobody holds a stored one; threads may share it."""

    def __init__(self, project: str, policy_s: float = 0) -> None:
        self.project = project
        self.policy_s = policy_s  # until a changed policy is in force; Google takes minutes
        self._documents: dict[tuple[str, str], str] = {}
        self._earlier: dict[str, tuple[float, Json]] = {}  # until when which policy is in force
        self.operator = self.account("operator")  # whom gcloud works as
        owner = {"role": "roles/owner", "members": [f"serviceAccount:{self.operator}"]}
        self.put("policies", f"projects/{project}", {"bindings": [owner]})
        self.put("projects", project, {"projectId": project, "lifecycleState": "ACTIVE"})

    def account(self, name: str) -> str:
        return f"{name}@{self.project}.iam.gserviceaccount.com"

    def get(self, kind: str, name: str) -> Json | None:
        found: Json | None = json.loads(self._documents.get((kind, name), "null"))
        return found

    def put(self, kind: str, name: str, value: Json) -> None:
        self._documents[kind, name] = json.dumps(value)

    def delete(self, kind: str, name: str) -> None:
        """Remove the document and what is kept about it by the name `<kind>/<name>`."""
        for key in self.snapshot():
            if key == (kind, name) or key[1] == f"{kind}/{name}":
                del self._documents[key]

    def all(self, kind: str) -> list[Json]:
        """Return this kind's documents, in the order of their names."""
        found = sorted(self.snapshot().items())
        return [json.loads(text) for (of, _), text in found if of == kind]

    def snapshot(self) -> dict[tuple[str, str], str]:
        """Return everything that is known, to compare."""
        return self._documents.copy()

    def policy(self, resource: str) -> Json:
        """Return the policy of `<kind>/<name>`; an empty one where none was set."""
        return {"version": 1, "etag": ETAG, "bindings": []} | (self.get("policies", resource) or {})

    def set_policy(self, resource: str, wanted: Json) -> Json:
        bindings = [binding for binding in wanted.get("bindings", []) if binding.get("members")]
        self._earlier[resource] = (time.monotonic() + self.policy_s, self._in_force(resource))
        self.put("policies", resource, {"bindings": bindings})
        return self.policy(resource)

    # https://cloud.google.com/iam/docs/access-change-propagation
    def _in_force(self, resource: str) -> Json:
        """Return what decides who may do what; a change is known only after a while."""
        until, earlier = self._earlier.get(resource, (0.0, {}))
        return earlier if time.monotonic() < until else self.policy(resource)

    def members(self, resource: str, *roles: str) -> set[str]:
        """Return who has one of the roles on a resource, or on the project, in force."""
        return {
            member
            for where in (resource, f"projects/{self.project}")
            for binding in self._in_force(where)["bindings"]
            if binding["role"] in roles
            for member in binding["members"]
        }


api = Blueprint("google", __name__)  # no two of Google's hosts share a path that gcloud asks for
PROJECT = "/v1/projects/<_project>"
# The APIs that a new project has not enabled and whose calls Google then refuses.
ASKED_FIRST = {"artifactregistry", "cloudbuild", "iam", "run", "secretmanager"}
ENABLED = "enabled-apis"
Part = TypeVar("Part")


def part(kind: type[Part]) -> Part:
    """Return the one object of a class that the answering app was made with."""
    found: Part = current_app.extensions[kind.__name__]
    return found


store = cast("Store", LocalProxy(lambda: part(Store)))  # the answering app's


def body() -> Json:
    """Return the request's JSON object; an empty one where there is none."""
    content: Json | None = request.get_json(force=True, silent=True)
    return content or {}


def now() -> str:
    """Return the time in RFC 3339 form, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def finished(response: Json) -> Json:
    """Return a long-running operation that has ended well."""
    found = re.search(r"projects/[^/]+/locations/[^/]+/", request.path)  # the place, if it has one
    name = f"{found[0] if found else ''}operations/done"
    return {"name": name, "done": True, "response": response}


def existing(kind: str, name: str) -> Json:
    """Return a document; HTTP error 404 where there is none in the region of the request."""
    found, region = store.get(kind, name), (request.view_args or {}).get("location")
    if found is None or (region and f"/locations/{region}/" not in found["name"]):
        abort(404, f"{kind}: {name!r} was not found.")
    return found


def make(kind: str, name: str, /, **more: str) -> Json:
    """Keep a new document of what is asked for; return it."""
    full = f"{request.path.removeprefix('/v1/')}/{name}"
    store.put(kind, name, {**body(), "name": full, "createTime": now(), **more})
    return existing(kind, name)


def add_documents(
    rule: str, kind: str, listed: str, after_delete: Callable[[str], None] = lambda _: None
) -> None:
    """Add the requests by which documents are listed (all, or by labels), read and deleted.

    ``rule`` is the address of all of them, ``listed`` what their list is called in an answer;
    ``after_delete`` is told the name of one that was deleted.
    """

    def listing(**_: str) -> Json:
        terms = request.args.get("labelSelector", "").split(",")  # name = value, name = value
        labels = dict(term.replace(" ", "").split("=", 1) for term in terms if term)
        found = store.all(kind)
        if labels:
            found = [one for one in found if labels.items() <= one["metadata"]["labels"].items()]
        return {listed: found, "metadata": {}}  # gcloud looks there for more revisions

    def delete(name: str, **_: str) -> Json:
        existing(kind, name)
        store.delete(kind, name)
        after_delete(name)
        return finished({})

    api.add_url_rule(rule, f"list_{kind}", listing)
    api.add_url_rule(f"{rule}/<path:name>", f"delete_{kind}", delete, methods=["DELETE"])
    api.add_url_rule(f"{rule}/<path:name>", f"get_{kind}", lambda name, **_: existing(kind, name))


def add_policy(
    kind: str, rule: str, read: str = ":getIamPolicy", write: str = ":setIamPolicy"
) -> None:
    """Add the two requests, at an address with these endings, for a document's policy."""

    def get_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return store.policy(f"{kind}/{name}")

    def set_policy(name: str, **_: str) -> Json:
        existing(kind, name)
        return store.set_policy(f"{kind}/{name}", body().get("policy") or body())

    api.add_url_rule(rule + read, f"get_{kind}_policy", get_policy, methods=["GET", "POST"])
    api.add_url_rule(rule + write, f"set_{kind}_policy", set_policy, methods=["POST", "PUT"])


def create_app(*parts: object) -> Flask:
    app = Flask("rehearsal")
    app.extensions.update({type(one).__name__: one for one in parts})
    app.before_request(_refuse_disabled)
    app.register_error_handler(HTTPException, _problem)
    app.register_blueprint(api)
    return app


def _refuse_disabled() -> None:
    name = request.host.partition(".")[0].rpartition("-")[2]  # of us-central1-run.test it is "run"
    if name in ASKED_FIRST and store.get(ENABLED, f"{name}.googleapis.com") is None:
        not_used = f"The API {name}.googleapis.com has not been used in project {store.project}"
        enable = f"Enable it with: gcloud services enable {name}.googleapis.com"
        abort(403, f"{not_used} before or it is disabled. {enable}")


def _problem(exc: HTTPException) -> tuple[Json, int]:
    """Return an error as gcloud reads it."""
    code, message = exc.code or 500, exc.description
    if exc is request.routing_exception:
        code = 501
        message = f"The rehearsal does not answer {request.method} {request.host}{request.path}"
        current_app.logger.warning(message)
    return {"error": {"code": code, "message": message}}, code
