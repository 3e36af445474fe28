"""Where a version is rehearsed: its steps, each with a log, its scripts, and what they built."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from tools.process import Failed
from tools.rehearsal.host import say
from tools.rehearsal.rehearsal import MODELS, PROJECT, REPOSITORY, Rehearsal

LIMIT_S = 60  # for an answer
SCRIPT_LIMIT_S = 3600
SHOWN_LINES = 40
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
COMPILES = "imgserve.compile"  # in the one step of the Dockerfiles that makes models


@dataclass
class Step:
    name: str
    log: Path  # what the programs it ran have said
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)  # what it found, shown when it is over


class Progress:
    """The steps so far, and the programs that they run, which end together; threads share it."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.steps = logs, list[Step]()
        logs.mkdir()
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen[bytes]] = []
        self._ended = False

    def output(self, command: list[str], **options: Any) -> tuple[int, bytes]:
        """Run a program to its end; return its exit status and what it printed."""
        with self._lock:
            if self._ended:
                raise Failed("the rehearsal is being ended")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
                **options,
            )
            self._started.append(process)
        printed, _ = process.communicate(timeout=SCRIPT_LIMIT_S)
        return process.returncode, printed

    def end(self) -> None:
        """Kill all programs under way with all that they started; no other one starts."""
        with self._lock:
            self._ended = True
            for process in self._started:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Stage:
    """Where the scenarios of one version take place, one step after the other."""

    rehearsal: Rehearsal
    source: Path  # a copy of the repository, whose deliverables.yaml nobody else writes
    progress: Progress
    builds: list["Build"] = field(default_factory=list)  # in the order they were made
    urls: dict[str, str] = field(default_factory=dict)  # the newest of each image by its name
    current: Step = field(init=False, repr=False)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Make what follows a step: time it and show how it ends.

        Failed, with the end of all that was said, where it fails.
        """
        log = self.progress.logs / f"{name.replace(' ', '-')}.log"
        self.current = step = Step(name, log)
        self.progress.steps.append(step)
        say(f"{name} ...")
        began = time.monotonic()
        try:
            log.touch()
            yield
        except (Failed, OSError, subprocess.SubprocessError) as exc:
            lines = log.read_text("utf-8", "replace").splitlines()[-SHOWN_LINES:]
            shown = [f"The end of {log}:", *(f"  | {line}" for line in lines)]
            say("\n".join([f"{name}: FAILED: {exc}", *shown]))
            raise Failed(f"{name}: {exc}") from exc
        step.seconds = round(time.monotonic() - began, 1)
        say("\n    ".join([f"{name}: {step.seconds} s", *step.notes]))

    def note(self, text: str) -> None:
        """Have the step show what it found."""
        self.current.notes.append(text)

    def run(self, program: str, *words: str, fails: bool = False, **variables: str) -> list[str]:
        """Return the lines that a script of deployment/, or another program, prints.

        What it says goes to the step's log. Failed where it fails, or the other way round;
        the last line that it says when it fails, as it should, is noted.
        """
        name = f"deployment/{program}" if program.endswith(".sh") else program
        with self.current.log.open("ab") as log:
            settings = [f"{setting}={value}" for setting, value in variables.items()]
            log.write(f"$ {' '.join([*settings, name, *words])}\n".encode())
            log.flush()
            environ = {**self.rehearsal.environ, **variables}
            status, printed = self.progress.output(
                [name, *words], cwd=self.source, env=environ, stderr=log
            )
            log.write(printed)
        if bool(status) != fails:
            should = " but should have failed" if fails else ""
            raise Failed(f"{name} ended with exit status {status}{should}")
        if fails:
            self.note(self.current.log.read_text("utf-8", "replace").splitlines()[-1])
        return printed.decode().splitlines()

    def picture(self, name: str) -> Path:
        return self.source / "imgserve" / "samples" / name

    def image(self, name: str) -> str:
        """Return where an image is kept, without its tag."""
        return f"{self.rehearsal.registry}/{PROJECT}/{REPOSITORY}/{name}"

    def serving(self, service: str) -> str:
        """Return the revision that has all of a service's traffic."""
        about = self.rehearsal.store.get("services", service) or {"status": {"traffic": []}}
        (share,) = [target for target in about["status"]["traffic"] if target.get("percent")]
        return str(share["revisionName"])

    def build(self, component: str, name: str = "") -> None:
        """Submit a component's build in a step of its own."""
        with self.step(name or f"build {component}"):
            for build_id in self.run(f"submit_build_{component}.sh"):
                build = built(self.rehearsal.store.get("builds", build_id) or {})
                self.builds.append(build)
                sizes = ", ".join(f"{kind} {size}" for kind, size in build.megabytes.items())
                self.note(f"{build.image}: {build.seconds:.0f} s, MB: {sizes}")

    def deploy(self, component: str, **variables: str) -> None:
        """Deploy a component as part of a step."""
        urls = self.run(f"deploy_{component}.sh", fails=False, **variables)
        names = [component]
        if component == "v3_backend":
            names = [f"{component}_{model}" for model in MODELS]
        for name, url in zip(names, urls, strict=True):
            self.urls[name] = url
            revision = self.serving(name.replace("_", "-"))
            about = self.rehearsal.store.get("revisions", revision) or {}
            self.note(f"{url}, seen to be ready after {about['status']['readyAfterSeconds']:.1f} s")


# --- what was built ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    digest: str  # of its compressed content, by which layers are compared
    size_bytes: int = field(compare=False)  # compressed, as it is stored and pulled
    made_by: str = field(compare=False)  # the step of the Dockerfile


@dataclass(frozen=True)
class Build:
    """A build that ended well."""

    id: str
    image: str  # its app image's short name
    seconds: float
    steps: dict[str, float]  # the seconds that each took, and `push`
    layers: dict[str, list[Layer]]  # of its app image, by what they are for: base, models, code
    megabytes: dict[str, float]  # of these layers


def built(about: dict[str, Any]) -> Build:
    """Return what is to be known of a build, given its document, whose images are in a registry."""
    app, base = (about["substitutions"][name] for name in ("_APP_URI", "_BASE_IMAGE_URI"))
    steps = {step["id"]: _seconds(step["timing"]) for step in about["steps"]}
    steps["push"] = _seconds(about["timing"]["PUSH"])
    seconds = _seconds({"startTime": about["startTime"], "endTime": about["finishTime"]})
    layers = by_purpose(_layers(base, about["id"]), _layers(app, about["id"]))
    sizes = {name: sum(layer.size_bytes for layer in found) for name, found in layers.items()}
    megabytes = {name: round(size / 1e6, 1) for name, size in sizes.items()}
    return Build(about["id"], app.rpartition("/")[2], seconds, steps, layers, megabytes)


def _seconds(span: dict[str, str]) -> float:
    """Return how long a time span of the API is."""
    began, ended = (datetime.fromisoformat(span[name]) for name in ("startTime", "endTime"))
    return round((ended - began).total_seconds(), 1)


def _layers(image: str, tag: str) -> list[Layer]:
    """Return the layers of an image, the lowest first."""
    host, _, name = image.partition("/")
    manifest = _json(f"http://{host}/v2/{name}/manifests/{tag}")
    about = _json(f"http://{host}/v2/{name}/blobs/{manifest['config']['digest']}")
    steps = [step for step in about["history"] if not step.get("empty_layer")]
    return [
        Layer(layer["digest"], layer["size"], step.get("created_by", ""))
        for layer, step in zip(manifest["layers"], steps, strict=True)
    ]


def _json(url: str) -> Any:
    answer = requests.get(url, headers={"Accept": MANIFEST}, timeout=LIMIT_S)
    answer.raise_for_status()
    return answer.json()


def by_purpose(base: list[Layer], app: list[Layer]) -> dict[str, list[Layer]]:
    """Return an app image's layers by what they are for, given those of its base image."""
    above = app[len(base) :]
    return {
        "base": app[: len(base)],
        "models": [layer for layer in above if COMPILES in layer.made_by],
        "code": [layer for layer in above if COMPILES not in layer.made_by],
    }
