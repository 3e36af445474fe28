"""Where a version is rehearsed: its steps, each with a log, its scripts, and what they built."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import requests

from tools.process import Failed
from tools.rehearsal.host import say
from tools.rehearsal.rehearsal import MODELS, PROJECT, REPOSITORY, Rehearsal
from tools.rehearsal.web import Json

LIMIT_S = 60  # for an answer
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Build:
    id: str
    image: str  # its app image's short name
    seconds: float
    layers: dict[str, int]  # of its app image: bytes, compressed, by digest


@dataclass
class Stage:
    """Where the scenarios of one version take place, one step after the other."""

    rehearsal: Rehearsal
    source: Path  # a copy of the repository, whose deliverables.yaml nobody else writes
    builds: list[Build] = field(default_factory=list)  # in the order they were made
    urls: dict[str, str] = field(default_factory=dict)  # the newest of each image by its name
    # Of the step that is under way: what its programs say, and what it found.
    log: Path = field(init=False)
    notes: list[str] = field(init=False)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what follows and show what it found; where it fails, Failed, with its last lines."""
        self.log, self.notes = self.rehearsal.logs / f"{name.replace(' ', '-')}.log", []
        self.rehearsal.steps += 1
        say(f"{name} ...")
        began = time.monotonic()
        try:
            self.log.touch()
            yield
        except (Failed, OSError, subprocess.SubprocessError) as exc:
            shown = [f"  | {line}" for line in self._said()[-40:]]
            say("\n".join([f"{name}: FAILED: {exc}", f"The end of {self.log}:", *shown]))
            raise Failed(f"{name}: {exc}") from exc
        say("\n    ".join([f"{name}: {time.monotonic() - began:.1f} s", *self.notes]))

    def _said(self) -> list[str]:
        return self.log.read_text("utf-8", "replace").splitlines()

    def run(self, program: str, *words: str, fails: bool = False, **variables: str) -> list[str]:
        """Return the lines that a script of deployment/, or another program, prints.

        What it says goes to the step's log. Failed where it fails, or the other way round;
        the last line that it says when it fails, as it should, is noted.
        """
        name = f"deployment/{program}" if program.endswith(".sh") else program
        with self.log.open("ab") as log:
            settings = [f"{setting}={value}" for setting, value in variables.items()]
            log.write(f"$ {' '.join([*settings, name, *words])}\n".encode())
            log.flush()
            environ = {**self.rehearsal.environ, **variables}
            status, printed = self.rehearsal.output(
                [name, *words], cwd=self.source, env=environ, stderr=log
            )
            log.write(printed)
        if bool(status) != fails:
            should = " but should have failed" if fails else ""
            raise Failed(f"{name} ended with exit status {status}{should}")
        if fails:
            self.notes.append(self._said()[-1])
        return printed.decode().splitlines()

    def image(self, name: str) -> str:
        """Return where an image is kept, without its tag."""
        return f"{self.rehearsal.registry}/{PROJECT}/{REPOSITORY}/{name}"

    def service(self, component: str) -> Json:
        """Return the document of a component's service, which is there."""
        return self.rehearsal.store.get("services", component.replace("_", "-")) or {}

    def serving(self, component: str) -> str:
        """Return the revision that has all of a component's traffic."""
        traffic = self.service(component)["status"]["traffic"]
        (share,) = [target for target in traffic if target.get("percent")]
        return str(share["revisionName"])

    def build(self, component: str, name: str = "") -> None:
        """Submit a component's build in a step of its own."""
        with self.step(name or f"build {component}"):
            for build_id in self.run(f"submit_build_{component}.sh"):
                build = built(self.rehearsal.store.get("builds", build_id) or {})
                self.builds.append(build)
                megabytes = sum(build.layers.values()) / 1e6
                self.notes.append(f"{build.image}: {build.seconds:.0f} s, {megabytes:.1f} MB")

    def deploy(self, component: str, **variables: str) -> None:
        """Deploy a component as part of a step."""
        urls = self.run(f"deploy_{component}.sh", fails=False, **variables)
        names = [component]
        if component == "v3_backend":
            names = [f"{component}_{model}" for model in MODELS]
        self.urls |= zip(names, urls, strict=True)
        self.notes += urls


def built(about: Json) -> Build:
    """Return what is to be known of a build, given its document, whose images are in a registry."""
    app = about["substitutions"]["_APP_URI"]
    host, _, name = app.partition("/")
    url = f"http://{host}/v2/{name}/manifests/{about['id']}"
    answer = requests.get(url, headers={"Accept": MANIFEST}, timeout=LIMIT_S)
    answer.raise_for_status()
    layers = {layer["digest"]: layer["size"] for layer in answer.json()["layers"]}
    began, ended = (datetime.fromisoformat(about[name]) for name in ("startTime", "finishTime"))
    return Build(about["id"], name.rpartition("/")[2], (ended - began).total_seconds(), layers)
