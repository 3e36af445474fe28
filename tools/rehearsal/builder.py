"""Runs builds: their steps as processes here, with this machine's docker as the only builder."""

import logging
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import now

LOG = logging.getLogger(__name__)
# Google's docker builder, or the plain name: it stands for this machine's docker.
BUILDER = re.compile(r"(?:gcr\.io/cloud-builders/)?docker")
# The roles that have artifactregistry.repositories.uploadArtifacts.
WRITE_IMAGES = {f"roles/artifactregistry.{name}" for name in ("admin", "repoAdmin", "writer")}
# A private daemon has no network but the host's.
DOCKER = """\
#!/bin/sh
if [ "$1" = build ]; then
  shift
  exec {docker} build {options} "$@"
fi
exec {docker} "$@"
"""


class BuildFailed(Exception):
    """The build cannot go on; the message says why."""


class Builder:
    """Carries builds out, side by side.

    Args:
        folder: where builds are carried out and their logs stay.
        store: has a document of each build, which is kept up to date.
        environ: of the docker command.
        registry: host and port.
        cache_from: an image whose layers each build may take, beside those that it names.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        environ: Mapping[str, str],
        registry: str,
        cache_from: str = "",
    ) -> None:
        self.store, self.registry, self.folder = store, registry, folder
        self._pool = ThreadPoolExecutor()
        command, path = folder / "bin" / "docker", environ.get("PATH", os.defpath)
        docker = shutil.which("docker", path=path) or "docker"
        command.parent.mkdir(parents=True)
        options = f"--network=host --cache-from={cache_from}" if cache_from else "--network=host"
        script = DOCKER.format(docker=shlex.quote(docker), options=options)
        command.write_text(script, "utf-8")
        command.chmod(0o755)
        # What the steps see: nothing of the user's own settings.
        self.environ = {"PATH": f"{command.parent}{os.pathsep}{path}", "HOME": str(folder)}
        self.environ |= {name: environ[name] for name in environ if name.startswith("DOCKER_")}

    def submit(self, build: Json, source: bytes) -> None:
        """Begin a build; its document is in the store already."""
        self._pool.submit(self._run, build, source)

    def log(self, build_id: str) -> str:
        """Return what a build has said so far."""
        path = self.folder / f"{build_id}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def stop(self) -> None:
        """Take no other build; those under way end with the daemon that they use."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, build: Json, source: bytes) -> None:
        workspace = self.folder / build["id"]
        try:
            _Build(self, build, workspace).run(source)
        except Exception:
            LOG.exception("build %s", build["id"])
            self.store.update("builds", build["id"], status="INTERNAL_ERROR", finishTime=now())
        shutil.rmtree(workspace, ignore_errors=True)


class _Build:
    """One build from its source to its pushed images."""

    def __init__(self, builder: Builder, build: Json, workspace: Path) -> None:
        self._builder, self._build, self._workspace = builder, build, workspace
        self._log = builder.folder / f"{build['id']}.log"
        self._lock = threading.Lock()

    def run(self, source: bytes) -> None:
        self._update(status="WORKING", startTime=now())
        try:
            self._unpack(source)
            self._run_steps()
            self._push_images()
        except BuildFailed as exc:
            self._say(f"ERROR: {exc}")
            self._update(status="FAILURE", statusDetail=str(exc), finishTime=now())
        else:
            self._say("DONE")
            self._update(status="SUCCESS", finishTime=now())

    def _unpack(self, source: bytes) -> None:
        self._workspace.mkdir()
        with tarfile.open(fileobj=BytesIO(source)) as archive:
            # "data" refuses links and names that lead out, devices and foreign owners.
            archive.extractall(self._workspace, filter="data")

    def _run_steps(self) -> None:
        """Run all steps, side by side where they may; none begins after one that failed."""
        futures: list[Future[None]] = []
        with ThreadPoolExecutor(len(self._build["steps"])) as pool:
            for number, earlier in enumerate(waits_for(self._build["steps"])):
                before = [futures[index] for index in earlier]
                futures.append(pool.submit(self._run_step, number, before))
        for future in futures:
            future.result()

    def _run_step(self, number: int, before: list[Future[None]]) -> None:
        for earlier in before:
            earlier.result()
        step = self._build["steps"][number]
        name = f'Step #{number} - "{step["id"]}"' if step.get("id") else f"Step #{number}"
        began, status = now(), "FAILURE"
        self._update_step(number, status="WORKING")
        try:
            if not BUILDER.fullmatch(step["name"]):
                raise BuildFailed(f"the rehearsal has no builder {step['name']!r}, only docker")
            self._process([step.get("entrypoint") or "docker", *step.get("args", [])], name)
            status = "SUCCESS"
        finally:
            timing = {"startTime": began, "endTime": now()}
            self._update_step(number, status=status, timing=timing)

    def _push_images(self) -> None:
        began = now()
        for image in self._build.get("images", []):
            self._check_push(image)
            self._process(["docker", "push", image], "PUSH")
        self._update(timing={"PUSH": {"startTime": began, "endTime": now()}})

    def _check_push(self, image: str) -> None:
        """Refuse what Artifact Registry would."""
        store = self._builder.store
        repository = image.removeprefix(f"{self._builder.registry}/{store.project}/").split("/")[0]
        if store.get("repositories", repository) is None:
            raise BuildFailed(f"failed to push {image}: Repository {repository!r} not found")
        email = self._build.get("serviceAccount", "").rpartition("/")[2]
        writers = store.members(WRITE_IMAGES, f"repositories/{repository}")
        if f"serviceAccount:{email}" not in writers:
            permission = "artifactregistry.repositories.uploadArtifacts"
            raise BuildFailed(f"failed to push {image}: {email} lacks {permission}")

    def _process(self, command: list[str], name: str) -> None:
        """Run a command to its end, with what it says in the log.

        Raises:
            BuildFailed: it failed.
        """
        process = subprocess.Popen(
            command,
            cwd=self._workspace,
            env=self._builder.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C comes to us, and we end the daemon
        )
        with process:
            for line in process.stdout or ():
                self._say(f"{name}: {line.rstrip()}")
        if process.returncode:
            raise BuildFailed(f"{name} failed: exit status {process.returncode}")

    def _say(self, line: str) -> None:
        with self._lock, self._log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _update(self, **values: object) -> None:
        self._builder.store.update("builds", self._build["id"], **values)

    def _update_step(self, number: int, **values: object) -> None:
        with self._lock:
            self._build["steps"][number] |= values
            self._update(steps=self._build["steps"])


def waits_for(steps: list[Json]) -> list[list[int]]:
    """Return for each step the numbers of those it waits for: all earlier ones, unless it says."""
    numbers = {step["id"]: number for number, step in enumerate(steps) if step.get("id")}
    return [
        [numbers[name] for name in step["waitFor"] if name != "-"]
        if step.get("waitFor")
        else list(range(number))
        for number, step in enumerate(steps)
    ]
