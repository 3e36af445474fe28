"""Keeps one revision's container alive: fetch, start, probe, watch, start again.

Cloud Run starts as many instances as the requests need, none when there are none. Here each
revision that has traffic or a tag has exactly one container, from its deployment to its end.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.rehearsal.run import container as containers
from tools.rehearsal.run import trouble
from tools.rehearsal.run.container import Container
from tools.rehearsal.run.docker import Docker, DockerFailed, Found
from tools.rehearsal.run.instance import (
    SecretRefused,
    arguments,
    container_of,
    port_of,
    start,
)
from tools.rehearsal.run.ports import Ports
from tools.rehearsal.run.probes import Probe
from tools.rehearsal.run.trouble import Trouble
from tools.rehearsal.store import Document, Store

LOG = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before a container that ended is started again
QUIET_S = 60.0  # without a liveness probe there is nothing to ask


@dataclass(frozen=True)
class World:
    """What keepers share."""

    docker: Docker
    store: Store
    ports: Ports
    environ: Mapping[str, str]
    logs: Path
    metadata_port: Callable[[Document], int]
    # Told when a container begins or ceases to answer, or what went wrong with it.
    changed: Callable[["Keeper", Trouble | None], None]


class Keeper:
    """The one who looks after a revision's container.

    Attributes:
        key: the revision's.
        up: the container answers.
        port: where it answers.
        trouble: why it did not come up the last time that it was started.
    """

    def __init__(self, world: World, key: str, revision: Document, found: Found | None) -> None:
        self.key = key
        self.up = False
        self.trouble: Trouble | None = None
        self.port = found.port if found else world.ports.lend()
        self._world = world
        self._revision = revision
        self._found = found
        self._stopped = threading.Event()
        self._left_running = False
        self._thread = threading.Thread(target=self._run, name=f"keeper of {key}", daemon=True)
        self._thread.start()

    def stop(self, *, leave_running: bool = False) -> None:
        """End the container, or only the watching of it; `join` waits until that is done."""
        self._left_running = leave_running
        self._stopped.set()

    @property
    def is_done(self) -> bool:
        """Return whether its container is gone, or no longer watched."""
        return not self._thread.is_alive()

    def join(self, limit_s: float) -> None:
        """Wait until all is done."""
        self._thread.join(limit_s)

    def _run(self) -> None:
        """Look after the container until told to stop."""
        pause_s = FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                self._live_once()
                pause_s = FIRST_PAUSE_S
            except Trouble as exc:
                LOG.warning("%s: %s", self.key, exc)
                self.trouble = exc
                self._world.changed(self, exc)
            self._stopped.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._world.ports.take_back(self.port)

    def _live_once(self) -> None:
        """Have a container from its start to its end.

        Raises:
            Trouble: it did not become ready.
        """
        container = self._adopted() or self._new()
        try:
            self._until_ready(container)
            if not self._stopped.is_set():
                self._tell(up=True)
                self._watch(container)
        finally:
            self.up = False
            if self._left_running:
                container.let_go()
            else:
                container.stop()

    def _adopted(self) -> Container | None:
        """Return the container from before the server's restart, once."""
        found, self._found = self._found, None
        return Container(self._world.docker, found, self._log(found.name)) if found else None

    def _new(self) -> Container:
        world, spec = self._world, container_of(self._revision)
        name = f"{self.key.replace('/', '.')}.{secrets.token_hex(3)}"
        found = Found(name, self.key, self.port, runs=True)
        metadata_port = world.metadata_port(self._revision)
        try:
            how = start(world.store, self._revision, self.port, metadata_port, world.environ)
            image = self._image(spec["image"])
            command = [image, *arguments(spec)]
            return containers.run(world.docker, found, how, command, self._log(name))
        except SecretRefused as exc:
            raise trouble.secret_refused(str(exc)) from exc
        except DockerFailed as exc:
            raise trouble.not_started(str(exc)) from exc

    def _image(self, asked: str) -> str:
        """Return the image with its digest, which is looked up once in a revision's life."""
        if self.digest:
            return self.digest  # `docker run` fetches it, should it be gone
        try:
            digest = self._world.docker.pull(asked)
        except DockerFailed as exc:
            raise trouble.image_missing(asked, str(exc)) from exc
        self._revision["status"]["imageDigest"] = digest
        return digest

    @property
    def digest(self) -> str:
        """Return the image with its digest; nothing before it was fetched."""
        digest: str = self._revision["status"].get("imageDigest", "")
        return digest

    def _until_ready(self, container: Container) -> None:
        probe = self._probe(container_of(self._revision)["startupProbe"])
        container.lives_for(probe.initial_delay_s, self._stopped.wait)
        for attempt in range(1, probe.allows + 1):
            answer = probe.ask()
            if not answer:
                return
            if attempt < probe.allows:
                container.lives_for(probe.waits_s, self._stopped.wait)
            if self._stopped.is_set():
                return
            if not container.runs:
                raise trouble.exited(self._revision, container.how_it_ended(), container.log)
        raise trouble.probe_failed(self._revision, probe, answer, container.log)

    def _watch(self, container: Container) -> None:
        """Wait for the container's end, or for one that its liveness probe calls for."""
        asked = container_of(self._revision).get("livenessProbe")
        probe = self._probe(asked) if asked else None
        failures = 0
        while container.lives_for(probe.period_s if probe else QUIET_S, self._stopped.wait):
            failures = failures + 1 if probe and probe.ask() else 0
            if probe and failures >= probe.failures:
                LOG.warning("%s: the liveness probe failed %d times", self.key, failures)
                break
        if not self._stopped.is_set() and not container.runs:
            LOG.warning("%s: %s It is started again.", self.key, container.how_it_ended())
        if not self._stopped.is_set():
            self._tell(up=False)

    def _probe(self, document: Document) -> Probe:
        return Probe.of(document, port_of(self._revision), self.port)

    def _tell(self, *, up: bool) -> None:
        self.up = up
        self.trouble = None
        self._world.changed(self, None)

    def _log(self, name: str) -> Path:
        return self._world.logs / f"{name}.log"
