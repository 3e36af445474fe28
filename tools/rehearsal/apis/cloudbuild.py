"""Cloud Build: builds are checked, queued and shown."""

import re
import uuid

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import ApiError, Json, body, invalid, not_found, now
from tools.rehearsal.apis.iam import account_exists
from tools.rehearsal.builds.build import DEFAULT_TIMEOUT
from tools.rehearsal.builds.checks import check, logs_without_bucket
from tools.rehearsal.builds.record import KIND
from tools.rehearsal.builds.substitutions import substituted
from tools.rehearsal.objects import KIND as OBJECTS
from tools.rehearsal.objects import key
from tools.rehearsal.permissions import READ_OBJECTS, may
from tools.rehearsal.projects import project_of
from tools.rehearsal.state import state, store

api = Blueprint("cloudbuild", __name__)

BUILDS = "/v1/projects/<project>/locations/<location>/builds"
METADATA = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"


@api.post(BUILDS)
def create(project: str, location: str) -> Response:
    """Take a build: refuse what Google would refuse at once, queue the rest."""
    number = project_of(store(), project)["projectNumber"]
    asked = body()
    check(asked)
    build = _resource(asked, project, number, location)
    build["source"] = _resolved(build.get("source", {}))
    filled = substituted(build, _builtin(build, number, location))
    _check_account(filled)
    for each in filled["steps"]:
        each["status"] = "QUEUED"
    store().put(KIND, build["id"], filled)
    state().runner.submit(filled)
    name = f"operations/build/{project}/{build['id']}"
    return jsonify(name=name, metadata={"@type": METADATA, "build": filled})


@api.get(BUILDS)
def list_builds(project: str, location: str) -> Response:
    """Answer the builds of a place, the newest first."""
    where = f"projects/{project_of(store(), project)['projectNumber']}/locations/{location}/"
    found = [store().get(KIND, name) or {} for name in store().names(KIND)]
    status = _wanted_status(request.args.get("filter", ""))
    here = [
        build
        for build in found
        if build.get("name", "").startswith(where) and status in {"", build["status"]}
    ]
    return jsonify(builds=sorted(here, key=lambda build: str(build["createTime"]), reverse=True))


@api.get(f"{BUILDS}/<build>")
def get(project: str, location: str, build: str) -> Response:
    """Answer a build as it stands."""
    return jsonify(_existing(project, location, build))


@api.post(f"{BUILDS}/<build>:cancel")
def cancel(project: str, location: str, build: str) -> Response:
    """End a build."""
    found = _existing(project, location, build)
    if found["status"] not in {"QUEUED", "WORKING"}:
        raise invalid("cannot cancel build in a terminal state")
    state().runner.cancel(build)
    return jsonify(_existing(project, location, build))


def _wanted_status(wanted: str) -> str:
    """Return the status that a list's filter names; empty where there is no filter."""
    found = re.fullmatch(r'(?:status\s*=\s*"?(\w+)"?)?', wanted.strip())
    if found is None:
        raise ApiError(501, f"The rehearsal lists builds by status alone, not by {wanted!r}")
    return found[1] or ""


def _existing(project: str, location: str, name: str) -> Json:
    build = store().get(KIND, name)
    number = project_of(store(), project)["projectNumber"]
    if build is None or build["name"] != f"projects/{number}/locations/{location}/builds/{name}":
        raise not_found("Requested entity was not found.")
    return build


def _resource(asked: Json, project: str, number: str, location: str) -> Json:
    name = str(uuid.uuid4())
    port = request.environ["SERVER_PORT"]
    return {
        "timeout": DEFAULT_TIMEOUT,
        **asked,
        "id": name,
        "name": f"projects/{number}/locations/{location}/builds/{name}",
        "projectId": project,
        "status": "QUEUED",
        "createTime": now(),
        "results": {},
        "logUrl": f"http://127.0.0.1:{port}/builds/{name}",
        **_logs_bucket(asked, number),
    }


def _logs_bucket(asked: Json, number: str) -> Json:
    if logs_without_bucket(asked):
        return {}
    default = f"gs://{number}.cloudbuild-logs.googleusercontent.com"
    return {"logsBucket": asked.get("logsBucket") or default}


def _resolved(source: Json) -> Json:
    """Return the source with the generation of its object.

    Raises:
        ApiError: 400 if there is no such object.
    """
    if not source:
        return {}
    wanted = source.get("storageSource", {})
    found = store().get(OBJECTS, key(wanted.get("bucket", ""), wanted.get("object", "")))
    if found is None or wanted.get("generation", found["generation"]) != found["generation"]:
        raise invalid(
            "invalid build: could not resolve source: googleapi: Error 404: No such object: "
            f"{wanted.get('bucket')}/{wanted.get('object')}, notFound"
        )
    return {"storageSource": {**wanted, "generation": found["generation"]}}


def _account(build: Json) -> str:
    return str(build.get("serviceAccount", "")).rpartition("/")[2]


def _check_account(build: Json) -> None:
    email = _account(build)
    if email and not account_exists(store(), email):
        raise not_found(f"generic::not_found: service account {email} was not found.")
    bucket = build["source"].get("storageSource", {}).get("bucket", "")
    if bucket and not may(
        store(), email, READ_OBJECTS, f"buckets/{bucket}", f"projects/{build['projectId']}"
    ):
        raise invalid(
            f"invalid build: could not resolve source: googleapi: Error 403: {email} does not have "
            "storage.objects.get access to the Google Cloud Storage object. Permission "
            "'storage.objects.get' denied on resource (or it may not exist)., forbidden"
        )


def _builtin(build: Json, number: str, location: str) -> dict[str, str]:
    return {
        "PROJECT_ID": build["projectId"],
        "PROJECT_NUMBER": number,
        "BUILD_ID": build["id"],
        "LOCATION": location,
        "SERVICE_ACCOUNT": build.get("serviceAccount", ""),
        "SERVICE_ACCOUNT_EMAIL": _account(build),
    }
