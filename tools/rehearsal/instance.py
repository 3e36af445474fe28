"""A revision's container: started, tested, watched and started again, until it is told to stop.

Cloud Run starts as many instances as the requests need, none when there are none. Here each
revision that has traffic or a tag has exactly one.
"""

import http.client
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.rehearsal.store import Json

LOG = logging.getLogger(__name__)

DRAIN_S = 10.0
RESTART_S = 2.0
POLL_S = 0.1
LAST_LINES = 10
SUCCESS = range(200, 400)
OUT_OF_MEMORY = 137  # 128 + SIGKILL


class InstanceFailed(Exception):
    """A container could not be started or did not become ready; the message says why."""


class Instance:
    """A container as the process that runs it, with its output in a log.

    Args:
        command: runs it in the foreground.
        environ: of the command.
        log: of the container; written anew.
        end: makes the process end; None where a signal does.
    """

    def __init__(
        self,
        command: list[str],
        environ: Mapping[str, str],
        log: Path,
        end: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
            )
        self._end = end or self._process.terminate

    @property
    def runs(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def how_it_ended(self) -> str:
        """Return its exit status and its last words."""
        code = self._process.returncode
        how = f"Container called exit({code})."
        if code == OUT_OF_MEMORY:
            how = "The container was killed: it may have used more memory than its limit."
        lines = self._log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        said = "".join(f"\n  {line}" for line in lines) or "\n  (it printed nothing)"
        return f"{how}\nThe last lines of its log:{said}\nLogs: {self._log}"

    def stop(self) -> None:
        """End it."""
        self._end()
        self._process.wait()


Launcher = Callable[[Json, int], Instance]  # a revision, and the port to listen on


class Supervisor:
    """Keeps a revision's container alive, in a thread.

    Attributes:
        port: where the container listens.
        up: whether it answers.
        failure: why it did not become ready; empty where it did, or may still.

    Args:
        revision: what to run.
        launch: starts a container of it.
        changed: is told when it begins to answer, and when it failed.
        drain: waits until the container has answered what it was asked.
    """

    def __init__(
        self,
        revision: Json,
        launch: Launcher,
        changed: Callable[["Supervisor"], None],
        drain: Callable[[int, float], None],
    ) -> None:
        self.revision = revision
        self.port, self.up, self.failure = free_port(), False, ""
        self._launch, self._changed, self._drain = launch, changed, drain
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have the container end once it has answered; `join` waits for that."""
        self._stopped.set()

    def join(self, limit_s: float) -> None:
        """Wait until the container has ended."""
        self._thread.join(limit_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._live_once()
                self.failure = "the container ended"
            except InstanceFailed as exc:
                LOG.warning("%s: %s", self.revision["metadata"]["name"], exc)
                self.failure = str(exc)
                self._changed(self)
            self._stopped.wait(RESTART_S)

    def _live_once(self) -> None:
        """Have a container from its start to its end.

        Raises:
            InstanceFailed: it did not become ready.
        """
        instance = self._launch(self.revision, self.port)
        try:
            self._until_ready(instance)
            if not self._stopped.is_set():
                self.up, self.failure = True, ""
                self._changed(self)
            while instance.runs and not self._stopped.wait(POLL_S):
                pass
            if not self._stopped.is_set():
                LOG.warning("%s: %s", self.revision["metadata"]["name"], instance.how_it_ended())
        finally:
            self.up = False
            if self._stopped.is_set():
                self._drain(self.port, DRAIN_S)
            instance.stop()

    def _until_ready(self, instance: Instance) -> None:
        """Ask the startup probe until it succeeds.

        https://cloud.google.com/run/docs/configuring/healthchecks
        """
        probe = container_of(self.revision)["startupProbe"]
        path, timeout_s = probe["httpGet"]["path"], probe.get("timeoutSeconds", 1)
        for _ in range(probe.get("failureThreshold", 3)):
            answer = _ask(self.port, path, timeout_s)
            if not answer or self._stopped.wait(probe.get("periodSeconds", 10)):
                return
            if not instance.runs:
                raise InstanceFailed(f"The container did not start. {instance.how_it_ended()}")
        raise InstanceFailed(
            f"The container failed its startup probe {path}, at last with {answer}"
        )


def _ask(port: int, path: str, timeout_s: float) -> str:
    """Return what is wrong with the answer to a probe, nothing where all is well."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"User-Agent": "GoogleHC/1.0"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        connection.close()
    return "" if status in SUCCESS else f"status {status}"


def container_of(revision: Json) -> Json:
    """Return the one container of a revision's spec."""
    container: Json = revision["spec"]["containers"][0]
    return container


def limits_of(container: Json) -> list[str]:
    """Return docker's options for a container's memory and CPUs."""
    limits = container["resources"]["limits"]
    memory = limits["memory"].removesuffix("i").lower()  # docker's g and m are binary as they are
    cpus = min(float(limits["cpu"]), os.cpu_count() or 1)  # docker refuses more than there are
    return [f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={cpus:g}"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
