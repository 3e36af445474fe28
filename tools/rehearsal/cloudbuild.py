"""Cloud Build: what it refuses at once, substitutions, and what is known of builds; their log."""

import re
import uuid
from collections.abc import Mapping

from flask import Blueprint

from tools.rehearsal.builder import Builder
from tools.rehearsal.resources import existing
from tools.rehearsal.storage import Objects
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError, body, now, part

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
USER_KEY = re.compile(r"_[A-Z0-9_]+")
VARIABLE = re.compile(r"\$(?:(\$)|([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)\})")


@api.post(BUILDS)
def create_build(_project: str, location: str) -> Json:
    """Take a build: refuse what Google would refuse at once, queue the rest."""
    store, wanted = part(Store), body()
    check(wanted)
    source = _source(wanted)
    build_id = str(uuid.uuid4())
    builtin = {"PROJECT_ID": store.project, "BUILD_ID": build_id, "LOCATION": location}
    build = substituted(wanted, {**builtin, "PROJECT_NUMBER": store.project_number}) | {
        "id": build_id,
        "name": f"projects/{store.project_number}/locations/{location}/builds/{build_id}",
        "projectId": store.project,
        "status": "QUEUED",
        "createTime": now(),
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds/{build_id}",
        "results": {},
    }
    store.put("builds", build_id, build)
    part(Builder).submit(build, source)
    return {"name": f"operations/build/{build_id}", "metadata": {"@type": METADATA, "build": build}}


@api.get(BUILDS)
def list_builds(**_: str) -> Json:
    return {"builds": sorted(part(Store).all("builds"), key=_created, reverse=True)}


def _created(build: Json) -> str:
    return str(build["createTime"])


@api.get(f"{BUILDS}/<build_id>")
def get_build(build_id: str, **_: str) -> Json:
    return existing("builds", build_id)


@logging.post("/v2/entries:list")
def list_log() -> Json:
    """Answer the log of the build that the filter names; no other filter is known."""
    found = re.search(r'resource\.labels\.build_id="?([\w-]+)', body().get("filter", ""))
    if found is None:
        raise ApiError(501, f"The rehearsal has no log for {body().get('filter')!r}")
    lines = part(Builder).log(found[1]).splitlines()
    resource = {"type": "build", "labels": {"build_id": found[1]}}
    entries = [
        {"textPayload": line, "insertId": str(number), "resource": resource, "timestamp": now()}
        for number, line in enumerate(lines)
    ]
    newest_first = "desc" in body().get("orderBy", "")
    return {"entries": entries[::-1] if newest_first else entries}


def check(build: Json) -> None:
    """Refuse a build that could not run.

    Raises:
        ApiError: 400 for what Cloud Build would refuse, 501 for what the rehearsal lacks.
    """
    _refuse_unknown(build, FIELDS, "build")
    names = {step.get("id", "") for step in build.get("steps", [])}
    for number, step in enumerate(build.get("steps", [])):
        _refuse_unknown(step, STEP_FIELDS, f"build.steps[{number}]")
        earlier = {each.get("id", "") for each in build["steps"][:number]}
        for name in step.get("waitFor", []):
            if name != "-" and name not in earlier:
                raise ApiError(
                    400, f"build step #{number} depends on {name!r}, which is not before"
                )
    if not names or len(names) < len(build["steps"]):
        raise ApiError(400, "invalid .steps field: there are none, or two of one id")
    if build.get("options", {}).get("logging") != "CLOUD_LOGGING_ONLY":
        # Google demands it, or a bucket for the log, of a build with a service account.
        raise ApiError(400, "build.options.logging must be CLOUD_LOGGING_ONLY")


def _refuse_unknown(value: Json, known: set[str], where: str) -> None:
    unknown = sorted(name for name in value if name not in known and value[name])
    if unknown:
        raise ApiError(501, f"The rehearsal has no part for {where}: {', '.join(unknown)}")


def _source(build: Json) -> bytes:
    """Return the uploaded source.

    Raises:
        ApiError: 400 or 404, it is not there, or the build's account is not or may not read it.
    """
    store, email = part(Store), build.get("serviceAccount", "").rpartition("/")[2]
    existing("accounts", email)
    wanted = build.get("source", {}).get("storageSource", {})
    bucket, name = wanted.get("bucket", ""), wanted.get("object", "")
    where = "invalid build: could not resolve source"
    if f"serviceAccount:{email}" not in store.members(READ_OBJECTS, f"buckets/{bucket}"):
        raise ApiError(400, f"{where}: {email} does not have storage.objects.get access")
    if (bucket, name) not in part(Objects).content:
        raise ApiError(400, f"{where}: No such object: {bucket}/{name}")
    return part(Objects).content[bucket, name]


def substituted(build: Json, builtin: Mapping[str, str]) -> Json:
    """Return the build with ``$NAME`` and ``${NAME}`` replaced as Cloud Build replaces them.

    Raises:
        ApiError: 400 for a key of the wrong form, one that is not used, or one not declared.
    """
    given: dict[str, str] = build.get("substitutions", {})
    values, asked = {**given, **builtin}, set[str]()

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        asked.add(name := found[2] or found[3])
        return values.get(name, "")

    def fill(template: object) -> object:
        if isinstance(template, str):
            return VARIABLE.sub(value, template)
        if isinstance(template, list):
            return [fill(part) for part in template]
        if isinstance(template, dict):
            return {name: fill(part) for name, part in template.items()}
        return template

    filled = {name: fill(build[name]) for name in build if name != "substitutions"}
    _refuse_mismatch(given, asked, asked - values.keys())
    return {**build, **filled}


def _refuse_mismatch(given: Mapping[str, str], asked: set[str], unknown: set[str]) -> None:
    words = [f'key "{name}" does not respect format "^_[A-Z0-9_]+$"' for name in given]
    words = [text for name, text in zip(given, words, strict=True) if not USER_KEY.fullmatch(name)]
    words += [
        f'key "{name}" in the substitution data is not matched in the template'
        for name in sorted(given.keys() - asked)
    ]
    words += [
        f'key in the template "{name}" is not matched in the substitution data'
        for name in sorted(unknown)
    ]
    if words:
        raise ApiError(400, f"invalid value for 'build.substitutions': {'; '.join(words)}")
