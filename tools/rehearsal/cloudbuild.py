"""Cloud Build: its steps are processes here, with this machine's docker as the only builder.

A build is answered once it is over. Google answers at once, and gcloud then asks until it is.
"""

import base64
import json
import re
import shutil
import subprocess
import tarfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from string import Template
from threading import Lock

from flask import abort

from tools.process import Failed
from tools.rehearsal import web
from tools.rehearsal.web import Json, Store, api, now, part, store

BUILDS = f"{web.PROJECT}/locations/<location>/builds"
METADATA = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
# What the rehearsal carries out; anything else in a build is refused instead of ignored.
FIELDS = {"images", "options", "serviceAccount", "source", "steps", "substitutions", "timeout"}
FIELDS |= {"queueTtl", "tags"}
STEP_FIELDS = {"args", "entrypoint", "id", "name", "waitFor"}
# Google's docker builder, or the plain name: it stands for this machine's docker.
# The narrowest roles that have storage.objects.get and
# artifactregistry.repositories.uploadArtifacts (IAM's reference of roles and permissions).
READ_OBJECTS, WRITE_IMAGES = "roles/storage.objectViewer", "roles/artifactregistry.writer"
ALIKE = ("--file=", "--build-arg=MODELS=")  # images for which these are the same have layers alike

web.add_documents(BUILDS, "builds", "builds")


class Builder:
    """Carries builds out in a folder, where their logs stay, once ``is_ready`` has returned."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        environ: Mapping[str, str],
        registry: str,
        is_ready: Callable[[], None],
    ) -> None:
        self._folder, self._store, self._is_ready = folder, store, is_ready
        self._images = f"{registry}/{store.project}/"
        # What the steps see: nothing of the user's own settings.
        self._environ = {"PATH": environ["PATH"], "HOME": str(folder)}
        self._environ |= {name: environ[name] for name in environ if name.startswith("DOCKER_")}
        self._building = defaultdict[str, Lock](Lock)  # by Dockerfile and models
        folder.mkdir(parents=True)

    def log(self, build_id: str) -> Path:
        return self._folder / f"{build_id}.log"

    def run(self, build: Json, source: bytes) -> Json:
        """Carry a build out; return its document with what became of it."""
        workspace, began, ended = self._folder / build["id"], now(), {"status": "SUCCESS"}
        try:
            self._is_ready()
            with tarfile.open(fileobj=BytesIO(source)) as archive:
                archive.extractall(workspace, filter="data")  # nothing leads out of it
            self._run_steps(build)
            self._push_images(build)
        except Failed as exc:
            ended = {"status": "FAILURE", "statusDetail": str(exc)}
            with self.log(build["id"]).open("a") as log:
                log.write(f"ERROR: {exc}\n")
        shutil.rmtree(workspace, ignore_errors=True)
        return {**build, **ended, "startTime": began, "finishTime": now()}

    def _run_steps(self, build: Json) -> None:
        """Run all steps, side by side where they may; none begins after one that failed."""
        futures: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(build["steps"])) as pool:
            for step in build["steps"]:
                names = step.get("waitFor") or futures  # all earlier ones, unless it says
                earlier = [futures[name] for name in names if name != "-"]
                futures[step["id"]] = pool.submit(self._run_step, build["id"], step, earlier)
        for future in futures.values():
            future.result()

    def _run_step(self, build_id: str, step: Json, earlier: list[Future[None]]) -> None:
        for future in earlier:
            future.result()
        step["status"] = "FAILURE"
        if step["name"] not in {"docker", "gcr.io/cloud-builders/docker"}:
            raise Failed(f"the rehearsal has no builder {step['name']!r}, only docker")
        command = [step.get("entrypoint") or "docker", *step.get("args", [])]
        if command[:2] == ["docker", "build"]:
            self._docker_build(build_id, step["id"], command[2:])
        else:
            self._process(build_id, step["id"], command)
        step["status"] = "SUCCESS"

    def _docker_build(self, build_id: str, name: str, words: list[str]) -> None:
        """Build an image; of two at once that begin alike, the second finds layers of the first."""
        alike = " ".join(word for word in words if word.startswith(ALIKE))
        # A private daemon has no network but the host's.
        words = [word for word in words if word != "--network=cloudbuild"]
        # After those that it names: docker keeps to the first that begins as the new one does.
        cache = f"--cache-from={self._images}imgserve/backend_v1"
        with self._building[alike]:
            self._process(build_id, name, ["docker", "build", "--network=host", *words, cache])

    def _push_images(self, build: Json) -> None:
        email = _account(build)
        for image in build.get("images", []):
            name = image.removeprefix(self._images).split("/")[0]
            if self._store.get("repositories", name) is None:
                raise Failed(f"failed to push {image}: no repository {name!r}")
            writers = self._store.members(f"repositories/{name}", WRITE_IMAGES)
            if f"serviceAccount:{email}" not in writers:
                permission = "artifactregistry.repositories.uploadArtifacts"
                raise Failed(f"failed to push {image}: {email} lacks {permission}")
            self._process(build["id"], "push", ["docker", "push", image])

    def _process(self, build_id: str, name: str, command: list[str]) -> None:
        """Run a command to its end, with what it says in the log; Failed if it fails."""
        with self.log(build_id).open("ab") as log:
            done = subprocess.run(
                command,
                cwd=self._folder / build_id,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C comes to us, and we end the daemon
                check=False,
            )
        if done.returncode:
            raise Failed(f"{name!r} failed: exit status {done.returncode}")


def _account(build: Json) -> str:
    return str(build.get("serviceAccount", "")).rpartition("/")[2]


@api.post(BUILDS)
def create_build(_project: str, location: str) -> Json:
    """Refuse a build that Google would refuse at once, carry any other out, and return it."""
    wanted = web.body()
    refuse_unknown(wanted)
    source, build_id = _source(wanted), str(uuid.uuid4())
    builtin = {"PROJECT_ID": store.project, "BUILD_ID": build_id, "LOCATION": location}
    build = substituted(wanted, builtin) | {
        "id": build_id,
        "name": f"projects/{store.project}/locations/{location}/builds/{build_id}",
        "projectId": store.project,
    }
    build = part(Builder).run(build, source)
    store.put("builds", build_id, build)
    return {"name": f"operations/build/{build_id}", "metadata": {"@type": METADATA, "build": build}}


@api.post("/v2/entries:list")
def list_log() -> Json:
    """Answer the log of the build that the filter names, newest first; gcloud asks for no other."""
    found = re.search(r'resource\.labels\.build_id="?([\w-]+)', web.body().get("filter", ""))
    if found is None:
        abort(501, f"The rehearsal has no log for {web.body().get('filter')!r}")
    resource = {"type": "build", "labels": {"build_id": found[1]}}
    lines = part(Builder).log(found[1]).read_text().splitlines()
    entries = [
        {"textPayload": line, "insertId": str(number), "resource": resource, "timestamp": now()}
        for number, line in enumerate(lines)
    ]
    return {"entries": entries[::-1] if "desc" in web.body().get("orderBy", "") else entries}


def refuse_unknown(build: Json) -> None:
    """Raise HTTP error 501 for what the rehearsal does not carry out."""
    for value, known in ((build, FIELDS), *((step, STEP_FIELDS) for step in build["steps"])):
        if unknown := sorted(name for name in value if name not in known and value[name]):
            abort(501, f"The rehearsal has no part for a build's {', '.join(unknown)}")


def _source(build: Json) -> bytes:
    """Return the uploaded source; HTTP error where the build's account may not read it."""
    wanted, email = build.get("source", {}).get("storageSource", {}), _account(build)
    bucket, name = wanted.get("bucket", ""), wanted.get("object", "")
    where = "invalid build: could not resolve source"
    if f"serviceAccount:{email}" not in store.members(f"buckets/{bucket}", READ_OBJECTS):
        abort(400, f"{where}: {email} does not have storage.objects.get access")
    kept = store.get("object-bytes", f"objects/{name}")
    if kept is None:
        abort(400, f"{where}: No such object: {bucket}/{name}")
    return base64.b64decode(kept["bytes"])


class _Variables(Template):
    """A text with Cloud Build's variables: ``$NAME``, ``${NAME}``, and ``$$`` for a dollar."""

    idpattern = "[A-Z_][A-Z0-9_]*"
    flags = re.NOFLAG


def substituted(build: Json, builtin: Mapping[str, str]) -> Json:
    """Return the build with its variables filled in; HTTP error 400 for one that is not given."""
    values = {**build.get("substitutions", {}), **builtin}
    text = _Variables(json.dumps({name: build[name] for name in build if name != "substitutions"}))
    if unknown := sorted(set(text.get_identifiers()) - values.keys()):
        abort(400, f"keys {unknown} in the template are not in the substitution data")
    quoted = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    filled: Json = json.loads(text.safe_substitute(quoted))
    return {**build, **filled}
