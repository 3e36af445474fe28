"""Runs builds: one after the other, each as on a new worker, its steps as processes here."""

import contextlib
import io
import logging
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import now

LOG = logging.getLogger(__name__)
STOP_S = 20.0
# Google's docker builder, or the plain name: it stands for this machine's docker.
BUILDER = re.compile(r"(?:gcr\.io/cloud-builders/)?docker")
# The roles that have artifactregistry.repositories.uploadArtifacts.
WRITE_IMAGES = {f"roles/artifactregistry.{name}" for name in ("admin", "repoAdmin", "writer")}
DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
# A private daemon has no network but the host's.
DOCKER = """\
#!/bin/sh
if [ "$1" = build ]; then
  shift
  exec {docker} build --network=host "$@"
fi
exec {docker} "$@"
"""


class BuildFailed(Exception):
    """The build cannot go on; the message says why."""

    def __init__(self, detail: str, status: str = "FAILURE") -> None:
        super().__init__(detail)
        self.status = status


class Builder:
    """Takes builds in turn, since each expects a machine of its own.

    Args:
        folder: where builds are carried out and their logs stay.
        store: has a document of each build, which is kept up to date.
        environ: of the docker command.
        registry: host and port; a new worker has none of its images.
    """

    def __init__(
        self, folder: Path, store: Store, environ: Mapping[str, str], registry: str
    ) -> None:
        self.store, self.registry, self.environ = store, registry, environ
        self.folder = folder
        self._commands = folder / "bin"
        self._commands.mkdir(parents=True)
        docker = shutil.which("docker", path=environ.get("PATH")) or "docker"
        (self._commands / "docker").write_text(DOCKER.format(docker=shlex.quote(docker)), "utf-8")
        (self._commands / "docker").chmod(0o755)
        self._queue: queue.Queue[tuple[Json, bytes] | None] = queue.Queue()
        self._cancel: CancelToken | None = None  # of the build under way
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._work, name="builds", daemon=True)
        self._worker.start()

    def submit(self, build: Json, source: bytes) -> None:
        """Put a build into the queue; its document is in the store already."""
        self._queue.put((build, source))

    def log(self, build_id: str) -> str:
        """Return what a build has said so far."""
        path = self.folder / f"{build_id}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def step_environ(self, home: Path) -> dict[str, str]:
        """Return what every step of a build sees: nothing of the user's own settings."""
        kept = {name: value for name, value in self.environ.items() if name.startswith("DOCKER_")}
        path = f"{self._commands}{os.pathsep}{self.environ.get('PATH', os.defpath)}"
        return {**kept, "PATH": path, "HOME": str(home)}

    def stop(self) -> None:
        """End the build under way and take no other."""
        self._stopped.set()
        self._queue.put(None)
        if self._cancel:
            self._cancel.cancel("CANCELLED")
        self._worker.join(STOP_S)

    def _work(self) -> None:
        while (item := self._queue.get()) and not self._stopped.is_set():
            build, source = item
            workspace = self.folder / build["id"]
            try:
                self._cancel = CancelToken()
                _Build(self, build, workspace, self._cancel).run(source)
            except Exception:
                LOG.exception("build %s", build["id"])
                self.store.update("builds", build["id"], _end_internally)
            shutil.rmtree(workspace, ignore_errors=True)


def _end_internally(build: Json) -> None:
    build.update(status="INTERNAL_ERROR", finishTime=now())


class CancelToken:
    """Ends all processes of a build, also those that start later; the first reason stays."""

    def __init__(self) -> None:
        self.status = ""
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []

    def add(self, process: "subprocess.Popen[str]") -> None:
        """Note a process that has started."""
        with self._lock:
            self._processes.append(process)
        if self.status:
            self.cancel(self.status)

    def cancel(self, status: str) -> None:
        """End the processes with all that they started."""
        with self._lock:
            self.status = self.status or status
            for process in self._processes:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)


class _Build:
    """One build from its source to its pushed images."""

    def __init__(self, builder: Builder, build: Json, workspace: Path, cancel: CancelToken) -> None:
        self._builder, self._build, self._workspace = builder, build, workspace
        self._log = builder.folder / f"{build['id']}.log"
        self._log_lock = threading.Lock()
        self._environ = builder.step_environ(workspace.parent)
        self._cancel = cancel
        self._failure: BuildFailed | None = None

    def run(self, source: bytes) -> None:
        self._change(lambda build: build.update(status="WORKING", startTime=now()))
        limit_s = float(self._build.get("timeout", "3600s").rstrip("s"))
        timer = threading.Timer(limit_s, self._cancel.cancel, ("TIMEOUT",))
        timer.daemon = True
        timer.start()
        try:
            self._forget_images()
            self._unpack(source)
            self._run_steps()
            self._push_images()
        except BuildFailed as exc:
            self._say(f"ERROR: {exc}")
            ended = {"status": exc.status, "statusDetail": str(exc)}
        else:
            self._say("DONE")
            ended = {"status": "SUCCESS"}
        timer.cancel()
        self._change(lambda build: build.update(ended, finishTime=now()))

    def _forget_images(self) -> None:
        """Remove the project's images from the daemon, but for those that containers run from."""
        form = "{{.Repository}}:{{.Tag}}@{{.Digest}}"
        listed = self._ask("docker", "images", "--digests", "--format", form).splitlines()
        for name in (line for line in listed if line.startswith(f"{self._builder.registry}/")):
            tagged, _, digest = name.partition("@")
            repository = tagged.removesuffix(":<none>")
            self._ask("docker", "rmi", tagged if repository == tagged else f"{repository}@{digest}")

    def _unpack(self, source: bytes) -> None:
        self._workspace.mkdir()
        try:
            with tarfile.open(fileobj=io.BytesIO(source)) as archive:
                # "data" refuses links and names that lead out, devices and foreign owners.
                archive.extractall(self._workspace, filter="data")
        except (tarfile.TarError, EOFError) as exc:
            raise BuildFailed(f"the source archive cannot be unpacked: {exc}") from exc

    def _run_steps(self) -> None:
        """Run all steps, side by side where they may; the first failure ends the others."""
        steps = self._build["steps"]
        over = [threading.Event() for _ in steps]

        def run(number: int, before: list[int]) -> None:
            try:
                for earlier in before:
                    over[earlier].wait()
                if not self._cancel.status:
                    self._run_step(number, steps[number])
            finally:
                over[number].set()

        numbered = enumerate(waits_for(steps))
        threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in numbered]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure:
            raise self._failure
        if self._cancel.status:  # before any step had begun
            raise BuildFailed("the build was ended", self._cancel.status)

    def _run_step(self, number: int, step: Json) -> None:
        name = f'Step #{number} - "{step["id"]}"' if step.get("id") else f"Step #{number}"
        status, began = "FAILURE", now()
        self._change(lambda build: build["steps"][number].update(status="WORKING"))
        try:
            if not BUILDER.fullmatch(step["name"]):
                raise BuildFailed(f"the rehearsal has no builder {step['name']!r}, only docker")
            self._process([step.get("entrypoint") or "docker", *step.get("args", [])], name)
            status = "SUCCESS"
        except (BuildFailed, OSError) as exc:
            failed = exc if isinstance(exc, BuildFailed) else BuildFailed(str(exc))
            self._failure = self._failure or BuildFailed(f"{name} failed: {exc}", failed.status)
            self._cancel.cancel("CANCELLED")
        timing = {"startTime": began, "endTime": now()}
        self._change(lambda build: build["steps"][number].update(status=status, timing=timing))

    def _push_images(self) -> None:
        began, pushed = now(), list[Json]()
        for image in self._build.get("images", []):
            self._check_push(image)
            output = self._process(["docker", "push", image], "PUSH")
            pushed.append({"name": image, "digest": "".join(DIGEST.findall(output)[-1:])})
        timing = {"PUSH": {"startTime": began, "endTime": now()}}
        self._change(lambda build: build.update(timing=timing, results={"images": pushed}))

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

    def _process(self, argv: list[str], name: str) -> str:
        """Run a command to its end in a process group of its own; return what it said.

        Raises:
            BuildFailed: it failed, or the build was ended meanwhile.
        """
        process = subprocess.Popen(
            argv,
            cwd=self._workspace,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._cancel.add(process)
        output: list[str] = []
        with process:
            for line in process.stdout or ():
                output.append(line)
                self._say(f"{name}: {line.rstrip()}")
        if process.returncode:
            reason = f"exit status {process.returncode}"
            raise BuildFailed(reason, self._cancel.status or "FAILURE")
        return "".join(output)

    def _ask(self, *argv: str) -> str:
        """Return what a command prints, nothing where it fails."""
        with contextlib.suppress(OSError):
            done = subprocess.run(argv, env=self._environ, capture_output=True, check=False)
            return done.stdout.decode() if done.returncode == 0 else ""
        return ""

    def _say(self, line: str) -> None:
        with self._log_lock, self._log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _change(self, change: Callable[[Json], None]) -> None:
        self._builder.store.update("builds", self._build["id"], change)


def waits_for(steps: list[Json]) -> list[list[int]]:
    """Return for each step the numbers of those it waits for: all earlier ones, unless it says."""
    numbers = {step["id"]: number for number, step in enumerate(steps) if step.get("id")}
    return [
        [numbers[name] for name in step["waitFor"] if name != "-"]
        if step.get("waitFor")
        else list(range(number))
        for number, step in enumerate(steps)
    ]
