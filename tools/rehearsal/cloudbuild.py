"""Cloud Build: what it refuses at once, substitutions, and what is known of builds; their log.

A build is answered once it is over. Google answers at once, and gcloud then asks until it is.
"""

import base64
import json
import re
import uuid
from collections.abc import Mapping
from string import Template

from flask import Blueprint

from tools.rehearsal.builder import Builder
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError, add_documents, body, existing, now, part

api = Blueprint("cloudbuild", __name__)
logging = Blueprint("logging", __name__)

BUILDS = "/v1/projects/<_project>/locations/<location>/builds"
METADATA = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
# What the rehearsal carries out; anything else in a build is refused instead of ignored.
FIELDS = {"images", "options", "serviceAccount", "source", "steps", "substitutions", "timeout"}
FIELDS |= {"queueTtl", "tags"}
STEP_FIELDS = {"args", "entrypoint", "id", "name", "waitFor"}
# The roles that have storage.objects.get (IAM's reference of roles and permissions).
READ_OBJECTS = {f"roles/storage.{name}" for name in ("admin", "objectAdmin", "objectViewer")}


@api.post(BUILDS)
def create_build(_project: str, location: str) -> Json:
    """Refuse a build that Google would refuse at once, carry any other out, and return it."""
    store, wanted = part(Store), body()
    check(wanted)
    source = _source(wanted)
    build_id = str(uuid.uuid4())
    builtin = {"PROJECT_ID": store.project, "BUILD_ID": build_id, "LOCATION": location}
    build = substituted(wanted, builtin) | {
        "id": build_id,
        "name": f"projects/{store.project_number}/locations/{location}/builds/{build_id}",
        "projectId": store.project,
        "createTime": now(),
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds/{build_id}",
    }
    build = part(Builder).run(build, source)
    store.put("builds", build_id, build)
    return {"name": f"operations/build/{build_id}", "metadata": {"@type": METADATA, "build": build}}


add_documents(api, f"{BUILDS}/<name>", "builds", "builds")


@logging.post("/v2/entries:list")
def list_log() -> Json:
    """Answer the log of the build that the filter names; no other filter is known."""
    found = re.search(r'resource\.labels\.build_id="?([\w-]+)', body().get("filter", ""))
    if found is None:
        raise ApiError(501, f"The rehearsal has no log for {body().get('filter')!r}")
    resource = {"type": "build", "labels": {"build_id": found[1]}}
    entries = [
        {"textPayload": line, "insertId": str(number), "resource": resource, "timestamp": now()}
        for number, line in enumerate(part(Builder).log(found[1]).read_text().splitlines())
    ]
    newest_first = "desc" in body().get("orderBy", "")
    return {"entries": entries[::-1] if newest_first else entries}


def check(build: Json) -> None:
    """Raise ApiError: 400 for what Cloud Build would refuse, 501 for what the rehearsal lacks."""
    _refuse_unknown(build, FIELDS, "build")
    earlier = {"-"}
    for number, step in enumerate(build["steps"]):
        _refuse_unknown(step, STEP_FIELDS, f"build.steps[{number}]")
        if later := set(step.get("waitFor", [])) - earlier:
            raise ApiError(400, f"build step #{number} depends on {later}, which is not before")
        earlier.add(step.get("id", ""))
    if build.get("options", {}).get("logging") != "CLOUD_LOGGING_ONLY":
        # Google demands it, or a bucket for the log, of a build with a service account.
        raise ApiError(400, "build.options.logging must be CLOUD_LOGGING_ONLY")


def _refuse_unknown(value: Json, known: set[str], where: str) -> None:
    unknown = sorted(name for name in value if name not in known and value[name])
    if unknown:
        raise ApiError(501, f"The rehearsal has no part for {where}: {', '.join(unknown)}")


def _source(build: Json) -> bytes:
    """Return the uploaded source.

    ApiError where it is not there, or the build's account is not or may not read it.
    """
    store, email = part(Store), build.get("serviceAccount", "").rpartition("/")[2]
    existing("accounts", email)
    wanted = build.get("source", {}).get("storageSource", {})
    bucket, name = wanted.get("bucket", ""), wanted.get("object", "")
    where = "invalid build: could not resolve source"
    if f"serviceAccount:{email}" not in store.members(READ_OBJECTS, f"buckets/{bucket}"):
        raise ApiError(400, f"{where}: {email} does not have storage.objects.get access")
    kept = store.get("object-bytes", f"objects/{name}")
    if kept is None:
        raise ApiError(400, f"{where}: No such object: {bucket}/{name}")
    return base64.b64decode(kept["bytes"])


class _Variables(Template):
    """A text with Cloud Build's variables: ``$NAME``, ``${NAME}``, and ``$$`` for a dollar."""

    idpattern = "[A-Z_][A-Z0-9_]*"
    flags = re.NOFLAG


def substituted(build: Json, builtin: Mapping[str, str]) -> Json:
    """Return the build with its variables filled in.

    ApiError 400 for a variable that is given and not used, or the other way round.
    """
    given: dict[str, str] = build.get("substitutions", {})
    values = {**given, **builtin}
    text = _Variables(json.dumps({name: build[name] for name in build if name != "substitutions"}))
    used = set(text.get_identifiers())
    if unused := sorted(given.keys() - used):
        raise _mismatch(f"keys {unused} in the substitution data are not matched in the template")
    if unknown := sorted(used - values.keys()):
        raise _mismatch(f"keys {unknown} in the template are not matched in the substitution data")
    quoted = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    filled: Json = json.loads(text.safe_substitute(quoted))
    return {**build, **filled}


def _mismatch(how: str) -> ApiError:
    return ApiError(400, f"invalid value for 'build.substitutions': {how}")
