"""One build from its source to its pushed images."""

import shutil
import time
from pathlib import Path

from tools.rehearsal.answers import Json, now
from tools.rehearsal.apis.artifactregistry import repository_of
from tools.rehearsal.builds.durations import seconds
from tools.rehearsal.builds.images import PushFailed, forget_images, push
from tools.rehearsal.builds.log import BuildLog
from tools.rehearsal.builds.machine import Machine
from tools.rehearsal.builds.record import Record
from tools.rehearsal.builds.steps import Halt, Site, run_steps
from tools.rehearsal.builds.workspace import SourceUnusable, unpack
from tools.rehearsal.objects import path_of
from tools.rehearsal.permissions import WRITE_IMAGES, may

DEFAULT_TIMEOUT = "3600s"  # "Default time is 60 minutes" (Cloud Build API, Build.timeout)


def run_build(build: Json, machine: Machine, record: Record, halt: Halt) -> None:
    """Run a build and note how it ended.

    Args:
        build: its resource, substitutions made.
        machine: where it runs.
        record: kept up to date meanwhile.
        halt: ordered by whoever wants it to end early.
    """
    log = BuildLog(machine.log_path(build["id"]))
    deadline = time.monotonic() + seconds(build.get("timeout", DEFAULT_TIMEOUT))
    site = Site(build["id"], machine, log, record, halt, deadline)
    record.began()
    log.write(f'starting build "{build["id"]}"', "")
    if _fetch(build, site):
        _phases(build, site)
    _end(site)


def _phases(build: Json, site: Site) -> None:
    started = now()
    site.log.write("BUILD")
    run_steps(build["steps"], site)
    site.record.phase("BUILD", started)
    if not site.halt.event.is_set() and build.get("images"):
        _push_all(build, site)


def _fetch(build: Json, site: Site) -> bool:
    started = now()
    source = build.get("source", {}).get("storageSource")
    forget_images(site.machine, build["projectId"], site.machine.step_environ(site.build))
    try:
        if source is None:
            site.workspace.mkdir(parents=True)
        else:
            _unpack_source(source, site)
    except SourceUnusable as exc:
        site.halt.order("FAILURE", f"fetching source failed: {exc}", "FETCH_SOURCE_FAILED")
        return False
    site.record.phase("FETCHSOURCE", started)
    return True


def _unpack_source(source: Json, site: Site) -> None:
    where = f"gs://{source['bucket']}/{source['object']}#{source.get('generation', '')}"
    site.log.write("FETCHSOURCE", f"Fetching storage object: {where}")
    archive = path_of(site.machine.folder, source["bucket"], source["object"])
    count = unpack(archive, site.workspace)
    site.log.write(f"Unpacked {count} files and folders.")


def _push_all(build: Json, site: Site) -> None:
    started = now()
    site.log.write("PUSH")
    try:
        for image in build["images"]:
            _refuse_push(image, build, site)
            _push_one(image, site)
    except PushFailed as exc:
        site.halt.order("FAILURE", str(exc), exc.failure)
    site.record.phase("PUSH", started)


def _push_one(image: str, site: Site) -> None:
    started = now()
    site.log.write(f"Pushing {image}")
    halt = (site.halt.event, site.deadline)
    digest = push(image, site.log.write, site.machine, site.build, halt)
    site.record.pushed(image, digest, started)


def _refuse_push(image: str, build: Json, site: Site) -> None:
    store, project = site.record.store, build["projectId"]
    ours = f"{site.machine.registry}/{project}/"
    if not image.startswith(ours):
        return  # not in Artifact Registry
    repository = image.removeprefix(ours).partition("/")[0]
    name = repository_of(store, project, repository)
    if not name:
        message = f'name unknown: Repository "{repository}" not found'
        raise PushFailed(f"failed to push {image}: {message}", "PUSH_FAILED")
    email = build.get("serviceAccount", "").rpartition("/")[2]
    if not may(store, email, WRITE_IMAGES, name, f"projects/{project}"):
        permission = "artifactregistry.repositories.uploadArtifacts"
        message = f'denied: Permission "{permission}" denied on resource "{name}"'
        raise PushFailed(f"failed to push {image}: {message}", "PUSH_NOT_AUTHORIZED")


def _end(site: Site) -> None:
    halt = site.halt
    _tidy(site.machine.build_folder(site.build), site.workspace)
    if halt.event.is_set():
        word = "ERROR" if halt.status == "FAILURE" else halt.status
        site.log.write(word, f"{word}: {halt.detail}")
        site.record.ended(halt.status, halt.detail, halt.failure)
    else:
        site.log.write("DONE")
        site.record.ended("SUCCESS")


def _tidy(folder: Path, workspace: Path) -> None:
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.rmtree(folder / "home", ignore_errors=True)
    for script in folder.glob("step-*"):
        script.unlink()
