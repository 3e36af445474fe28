"""Runs builds: their steps as processes here, with this machine's docker as the only builder."""

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

# Google's docker builder, or the plain name: it stands for this machine's docker.
BUILDER = re.compile(r"(?:gcr\.io/cloud-builders/)?docker")
# The roles that have artifactregistry.repositories.uploadArtifacts.
WRITE_IMAGES = {f"roles/artifactregistry.{name}" for name in ("admin", "repoAdmin", "writer")}
# A private daemon has no network but the host's.
DOCKER = """\
#!/bin/sh
if [ "$1" = build ]; then
  shift
  for word; do
    shift
    [ "$word" = --network=cloudbuild ] || set -- "$@" "$word"
  done
  exec {docker} build {options} "$@"
fi
exec {docker} "$@"
"""


class BuildFailed(Exception):
    """The build cannot go on; the message says why."""


class Builder:
    """Carries builds out in a folder, where their logs stay.

    The store knows who may push images. Each build may take the layers of the image ``cache_from``,
    beside those of the images that it names.
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
        command, path = folder / "bin" / "docker", environ.get("PATH", os.defpath)
        docker = shlex.quote(shutil.which("docker", path=path) or "docker")
        options = f"--network=host --cache-from={cache_from}" if cache_from else "--network=host"
        command.parent.mkdir(parents=True)
        command.write_text(DOCKER.format(docker=docker, options=options), "utf-8")
        command.chmod(0o755)
        # What the steps see: nothing of the user's own settings.
        self.environ = {"PATH": f"{command.parent}{os.pathsep}{path}", "HOME": str(folder)}
        self.environ |= {name: environ[name] for name in environ if name.startswith("DOCKER_")}

    def log(self, build_id: str) -> Path:
        """Return where what a build says is kept."""
        return self.folder / f"{build_id}.log"

    def run(self, build: Json, source: bytes) -> Json:
        """Carry a build out; return its document with what became of it."""
        workspace = self.folder / build["id"]
        began = now()
        try:
            _unpack(source, workspace)
            run = _Build(self, build, workspace)
            run.run_steps()
            pushing = now()
            run.push_images()
            timing = {"PUSH": {"startTime": pushing, "endTime": now()}}
            ended = {"status": "SUCCESS", "timing": timing}
        except BuildFailed as exc:
            ended = {"status": "FAILURE", "statusDetail": str(exc)}
        shutil.rmtree(workspace, ignore_errors=True)
        return {**build, **ended, "startTime": began, "finishTime": now()}


def _unpack(source: bytes, workspace: Path) -> None:
    workspace.mkdir()
    try:
        with tarfile.open(fileobj=BytesIO(source)) as archive:
            # "data" refuses links and names that lead out, devices and foreign owners.
            archive.extractall(workspace, filter="data")
    except tarfile.TarError as exc:
        raise BuildFailed(f"the source archive cannot be unpacked: {exc}") from exc


class _Build:
    """One build's steps and its images."""

    def __init__(self, builder: Builder, build: Json, workspace: Path) -> None:
        self._builder, self._build, self._workspace = builder, build, workspace
        self._log_lock = threading.Lock()

    def run_steps(self) -> None:
        """Run all steps, side by side where they may; none begins after one that failed."""
        steps = self._build["steps"]
        futures: list[Future[None]] = []
        with ThreadPoolExecutor(len(steps)) as pool:
            for step, earlier in zip(steps, waits_for(steps), strict=True):
                before = [futures[index] for index in earlier]
                futures.append(pool.submit(self._run_step, step, before))
        for future in futures:
            future.result()

    def _run_step(self, step: Json, before: list[Future[None]]) -> None:
        for earlier in before:
            earlier.result()
        step |= {"status": "FAILURE", "timing": {"startTime": now()}}
        try:
            if not BUILDER.fullmatch(step["name"]):
                raise BuildFailed(f"the rehearsal has no builder {step['name']!r}, only docker")
            command = [step.get("entrypoint") or "docker", *step.get("args", [])]
            self._process(command, step["id"])
            step["status"] = "SUCCESS"
        finally:
            step["timing"]["endTime"] = now()

    def push_images(self) -> None:
        """Push the images, as Artifact Registry would take them."""
        store, registry = self._builder.store, self._builder.registry
        email = self._build.get("serviceAccount", "").rpartition("/")[2]
        for image in self._build.get("images", []):
            repository = image.removeprefix(f"{registry}/{store.project}/").split("/")[0]
            if store.get("repositories", repository) is None:
                raise BuildFailed(f"failed to push {image}: no repository {repository!r}")
            writers = store.members(WRITE_IMAGES, f"repositories/{repository}")
            if f"serviceAccount:{email}" not in writers:
                permission = "artifactregistry.repositories.uploadArtifacts"
                raise BuildFailed(f"failed to push {image}: {email} lacks {permission}")
            self._process(["docker", "push", image], "push")

    def _process(self, command: list[str], name: str) -> None:
        """Run a command to its end, with what it says in the log; BuildFailed if it fails."""
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
            raise BuildFailed(f"{name!r} failed: exit status {process.returncode}")

    def _say(self, line: str) -> None:
        with self._log_lock, self._builder.log(self._build["id"]).open("a") as file:
            file.write(f"{line}\n")


def waits_for(steps: list[Json]) -> list[list[int]]:
    """Return for each step the numbers of those it waits for: all earlier ones, unless it says."""
    numbers = {step["id"]: number for number, step in enumerate(steps)}
    return [
        [numbers[name] for name in step["waitFor"] if name != "-"]
        if step.get("waitFor")
        else list(range(number))
        for number, step in enumerate(steps)
    ]
