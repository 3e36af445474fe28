"""Logging: the lines of builds, and the same as text for whoever has a build's address."""

import re
from pathlib import Path
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import ApiError, Json, body, not_found
from tools.rehearsal.builds import log
from tools.rehearsal.builds.record import KIND
from tools.rehearsal.state import state, store

api = Blueprint("logs", __name__)
files = Blueprint("log-files", __name__)
pages = Blueprint("log-pages", __name__)

PAGE = 1000  # entries in one answer, if the request names no number


@api.post("/v2/entries:list")
def list_entries() -> Response:
    """Answer the log of the build that the filter names; no other filter is known."""
    asked = body()
    found = re.search(r'resource\.labels\.build_id="?([\w-]+)', asked.get("filter", ""))
    if found is None:
        raise ApiError(501, f"The rehearsal has no log for {asked.get('filter')!r}")
    lines = log.entries(log_path(found[1]))
    if "desc" in asked.get("orderBy", ""):
        lines.reverse()
    return jsonify(_page(lines, found[1], asked))


@files.get("/<path:bucket>/log-<uuid:build>.txt")
def file(bucket: str, build: UUID) -> Response:
    """Answer the log of a build as the file that Cloud Build keeps in the build's logs bucket."""
    resource = store().get(KIND, str(build)) or {}
    text = log.text(log_path(str(build))).encode()
    if resource.get("logsBucket") != f"gs://{bucket}" or not text:
        raise not_found(f"No such object: {bucket}/log-{build}.txt")
    answer = Response(text, mimetype="text/plain")
    # gcloud asks for what is new since it asked last.
    answer.make_conditional(request, accept_ranges=True, complete_length=len(text))
    return answer


@pages.get("/builds/<build>")
def page(build: str) -> Response:
    """Answer a build's log as text."""
    if store().get(KIND, build) is None:
        raise not_found(f"There is no build {build}.")
    return Response(log.text(log_path(build)), mimetype="text/plain")


def log_path(build: str) -> Path:
    """Return the file of a build's log."""
    return state().runner.machine.log_path(build)


def _page(lines: list[Json], build: str, asked: Json) -> Json:
    start = int(asked.get("pageToken") or 0)
    end = start + int(asked.get("pageSize") or PAGE)
    project = (store().get(KIND, build) or {}).get("projectId", "")
    shown = [
        {
            **line,
            "logName": f"projects/{project}/logs/cloudbuild",
            "resource": {"type": "build", "labels": {"build_id": build, "project_id": project}},
            "insertId": f"{build}-{start + number}",
        }
        for number, line in enumerate(lines[start:end])
    ]
    more = {"nextPageToken": str(end)} if end < len(lines) else {}
    return {"entries": shown, **more}
