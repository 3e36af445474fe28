"""Service Usage: which APIs a project has enabled, and the refusal of those it has not."""

import re
from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import ApiError, Json, body, finished
from tools.rehearsal.projects import project_number, project_of
from tools.rehearsal.state import store
from tools.rehearsal.store import Store

api = Blueprint("serviceusage", __name__)

KIND = "services"
# The APIs that a new project has not enabled and whose calls Google then refuses.
ASKED_FIRST = {
    "artifactregistry": "Artifact Registry API",
    "cloudbuild": "Cloud Build API",
    "iam": "Identity and Access Management (IAM) API",
    "run": "Cloud Run Admin API",
    "secretmanager": "Secret Manager API",
}


@api.post("/v1/projects/<project>/services:batchEnable")
def batch_enable(project: str) -> Response:
    """Enable several APIs."""
    return _enable(project, body().get("serviceIds", []))


@api.post("/v1/projects/<project>/services/<name>:enable")
def enable(project: str, name: str) -> Response:
    """Enable one API."""
    return _enable(project, [name])


@api.get("/v1/projects/<project>/services/<name>")
def get_service(project: str, name: str) -> Response:
    """Answer whether an API is enabled."""
    return jsonify(_service(store(), project, name))


@api.get("/v1/projects/<project>/services")
def list_services(project: str) -> Response:
    """Answer the enabled APIs."""
    project_of(store(), project)
    return jsonify(services=[_service(store(), project, name) for name in enabled(project)])


@api.get("/v1/operations/<path:name>")
def operation(name: str) -> Response:
    """Answer that the operation is over: enabling takes no time here."""
    return jsonify(finished(f"operations/{name}", {}, "google.protobuf.Empty"))


def enabled(project: str) -> list[str]:
    """Return the names of the APIs that the project has enabled."""
    return sorted((store().get(KIND, project) or {}).get("enabled", []))


def is_enabled(services: Store, project: str, name: str) -> bool:
    """Return whether the project has enabled the API ``<name>.googleapis.com``."""
    return f"{name}.googleapis.com" in (services.get(KIND, project) or {}).get("enabled", [])


def refuse_where_not_enabled(name: str, services: Store) -> Callable[[], None]:
    """Return what refuses each request of an API that its project has not enabled."""

    def check() -> None:
        # "-" is gcloud's name for the project that a service account's address names.
        found = re.search(r"/(?:projects|namespaces)/(?!-/)([^/:]+)", request.path)
        if name in ASKED_FIRST and found and not is_enabled(services, found[1], name):
            raise _disabled(name, found[1])

    return check


def _enable(project: str, names: list[str]) -> Response:
    project_of(store(), project)
    unknown = [name for name in names if not re.fullmatch(r"[a-z0-9-]+\.googleapis\.com", name)]
    if unknown:
        raise ApiError(403, f"Not found or permission denied for service(s): {', '.join(unknown)}.")
    with store().lock:
        both = sorted({*enabled(project), *names})
        store().put(KIND, project, {"enabled": both})
    made = {"services": [_service(store(), project, name) for name in names]}
    kind = "google.api.serviceusage.v1.BatchEnableServicesResponse"
    return jsonify(finished("operations/acf.rehearsal", made, kind))


def _service(services: Store, project: str, name: str) -> Json:
    number = project_number(project)
    on = is_enabled(services, project, name.removesuffix(".googleapis.com"))
    return {
        "name": f"projects/{number}/services/{name}",
        "config": {"name": name, "title": name},
        "state": "ENABLED" if on else "DISABLED",
        "parent": f"projects/{number}",
    }


def _disabled(name: str, project: str) -> ApiError:
    service = f"{name}.googleapis.com"
    message = (
        f"{ASKED_FIRST[name]} has not been used in project {project} before or it is disabled. "
        f"Enable it with: gcloud services enable {service} --project={project}"
    )
    reason: Json = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": service, "consumer": f"projects/{project}"},
    }
    return ApiError(403, message, details=[reason])
