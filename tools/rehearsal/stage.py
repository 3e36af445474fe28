"""What every scenario uses: the scripts, and what was found so far."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.rehearsal.host import HostFailed
from tools.rehearsal.own_model import NAME
from tools.rehearsal.progress import Progress, Step, StepFailed
from tools.rehearsal.rehearsal import PROJECT, REPOSITORY, Rehearsal
from tools.rehearsal.report import Build, by_purpose, layers

LIMIT_S = 3600
# A built-in model, whose weights are a package, so that no model hub is needed, and a person's own.
MODELS = ("efficientnet_lite0", NAME)


class Scripts:
    """Scripts that several threads run, each a process group of its own, which end together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen[bytes]] = []
        self._ended = False

    def output(self, command: Sequence[str | Path], **options: Any) -> tuple[int, bytes]:
        """Run a script to its end; return its exit status and what it printed."""
        with self._lock:
            if self._ended:
                raise HostFailed("the rehearsal is being ended")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
                **options,
            )
            self._started.append(process)
        printed, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, printed

    def end(self) -> None:
        """Kill all scripts under way with all that they started; no other one starts."""
        with self._lock:
            self._ended = True
            for process in self._started:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Stage:
    """Where the scenarios of one version take place."""

    rehearsal: Rehearsal
    source: Path  # a copy of the repository, whose deliverables.yaml nobody else writes
    progress: Progress
    scripts: Scripts
    builds: list[Build] = field(default_factory=list)  # in the order they were made
    urls: dict[str, str] = field(default_factory=dict)  # the newest of each image by its name

    def run(self, step: Step, script: str, *words: str, **variables: str) -> list[str]:
        """Return the lines that a script prints; what it says goes to the step's log."""
        return self._run(step, [f"deployment/{script}", *words], variables, fails=False)

    def gcloud(self, step: Step, *words: str) -> None:
        """Run gcloud as a person does beside the scripts."""
        self._run(step, ["gcloud", *words], {}, fails=False)

    def run_failing(self, step: Step, script: str, **variables: str) -> None:
        """Note the last line that a script says when it fails, as it should."""
        self._run(step, [f"deployment/{script}"], variables, fails=True)
        step.note(step.log.read_text("utf-8", "replace").splitlines()[-1])

    def _run(
        self, step: Step, words: list[str], variables: dict[str, str], *, fails: bool
    ) -> list[str]:
        with step.log.open("ab") as log:
            settings = [f"{name}={value}" for name, value in variables.items()]
            log.write(f"$ {' '.join([*settings, *words])}\n".encode())
            log.flush()
            status, printed = self.scripts.output(
                words,
                cwd=self.source,
                env={**self.rehearsal.environ, **variables},
                stderr=log,
            )
            log.write(printed)
        if bool(status) != fails:
            should = " but should have failed" if fails else ""
            raise StepFailed(f"{words[0]} ended with exit status {status}{should}")
        return printed.decode().splitlines()

    def picture(self, name: str) -> Path:
        return self.source / "imgserve" / "samples" / name

    def serving(self, service: str) -> str:
        """Return the revision that has all of a service's traffic."""
        about = self.rehearsal.store.get("services", service) or {"status": {"traffic": []}}
        (share,) = [target for target in about["status"]["traffic"] if target.get("percent")]
        return str(share["revisionName"])

    def build(self, component: str, name: str = "") -> list[Build]:
        """Submit a component's build in a step of its own; return what was built."""
        with self.progress.step(name or f"build {component}") as step:
            ids = self.run(step, f"submit_build_{component}.sh", **limits(component))
            made = [self._built(build_id) for build_id in ids]
            self.builds += made
            for build in made:
                sizes = ", ".join(f"{kind} {size}" for kind, size in build.megabytes.items())
                step.note(f"{build.image}: {build.seconds:.0f} s, MB: {sizes}")
        return made

    def deploy(self, step: Step, component: str, **variables: str) -> None:
        """Deploy a component as part of a step."""
        urls = self.run(step, f"deploy_{component}.sh", **limits(component), **variables)
        names = [component]
        if component == "v3_backend":
            names = [f"{component}_{model}" for model in MODELS]
        for name, url in zip(names, urls, strict=True):
            self.urls[name] = url
            revision = self.serving(name.replace("_", "-"))
            about = self.rehearsal.store.get("revisions", revision) or {}
            step.note(f"{url}, seen to be ready after {about['status']['readyAfterSeconds']:.1f} s")

    def _built(self, build_id: str) -> Build:
        about = self.rehearsal.store.get("builds", build_id) or {}
        image = about["substitutions"]["_APP_URI"].rpartition("/")[2]
        steps = {step["id"]: _seconds(step["timing"]) for step in about["steps"]}
        steps["push"] = _seconds(about["timing"]["PUSH"])
        span = {"startTime": about["startTime"], "endTime": about["finishTime"]}
        side = image.removeprefix("v3_").partition("_")[0]  # backend, frontend or gateway
        base, app = (layers(f"{self.image(name)}:{build_id}") for name in (f"{side}_base", image))
        return Build(build_id, image, _seconds(span), steps, by_purpose(base, app))

    def image(self, name: str) -> str:
        """Return where an image is kept, without its tag."""
        return f"{self.rehearsal.registry}/{PROJECT}/{REPOSITORY}/{name}"


def limits(component: str) -> dict[str, str]:
    """Return the variables that limit a component's models."""
    if "frontend" in component:
        return {}
    if component == "backend_v1":
        return {"MODEL_NAME": MODELS[0]}
    return {"MODELS": ",".join(MODELS)}


def _seconds(span: dict[str, Any]) -> float:
    """Return how long a time span of the API is."""
    began, ended = (datetime.fromisoformat(span[name]) for name in ("startTime", "endTime"))
    return round((ended - began).total_seconds(), 1)
