"""Why a revision does not run, in Cloud Run's words, with the end of its log."""

from pathlib import Path

from tools.rehearsal.run.conditions import FALSE, Verdict
from tools.rehearsal.run.instance import container_of, port_of
from tools.rehearsal.run.probes import Probe
from tools.rehearsal.store import Document

TAIL_LINES = 10
TAIL_BYTES = 8192


class Trouble(Exception):
    """A container could not be started or did not stay.

    Attributes:
        part: the condition of the revision that is False because of it.
        reason: its one-word reason.
    """

    def __init__(self, message: str, part: str, reason: str) -> None:
        super().__init__(message)
        self.part = part
        self.reason = reason

    def verdict(self, revision: Document) -> Verdict:
        """Return what the revision's condition says."""
        name = revision["metadata"]["name"]
        text = f"Revision '{name}' is not ready and cannot serve traffic. {self}"
        return Verdict(FALSE, self.reason, text)


def image_missing(image: str, said: str) -> Trouble:
    """Return the trouble of an image that the registry does not give."""
    return Trouble(f"Image '{image}' not found. ({said})", "ContainerReady", "ContainerMissing")


def secret_refused(said: str) -> Trouble:
    """Return the trouble of a secret that the service's account cannot read."""
    return Trouble(f"{said}.", "ContainerReady", "SecretsAccessCheckFailed")


def not_started(said: str) -> Trouble:
    """Return the trouble of a container that docker could not start at all."""
    return _unhealthy(f"The container could not be started. {said}")


def exited(revision: Document, how: str, log: Path) -> Trouble:
    """Return the trouble of a container that ended before it was ready."""
    return _unhealthy(f"{_listen(revision)} {how}{_end_of(log)}")


def probe_failed(revision: Document, probe: Probe, answer: str, log: Path) -> Trouble:
    """Return the trouble of a container whose startup probe failed too often."""
    if probe.is_default:
        return _unhealthy(f"{_listen(revision)}{_end_of(log)}")
    text = (
        "The user-provided container failed the configured startup probe checks: "
        f"STARTUP {probe} on port {port_of(revision)} failed {probe.allows} times consecutively "
        f'for container "{container_of(revision).get("name") or "user-container"}", '
        f"at last with {answer}."
    )
    return _unhealthy(text + _end_of(log))


def _listen(revision: Document) -> str:
    return (
        "The user-provided container failed to start and listen on the port defined provided by "
        f"the PORT={port_of(revision)} environment variable within the allocated timeout. This can "
        "happen when the container port is misconfigured or if the timeout is too short."
    )


def _unhealthy(text: str) -> Trouble:
    return Trouble(text, "ContainerHealthy", "HealthCheckContainerError")


def _end_of(log: Path) -> str:
    """Return where the log is and its last lines."""
    try:
        data = log.read_bytes()[-TAIL_BYTES:]
    except OSError:
        data = b""
    lines = data.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    said = "".join(f"\n  {line}" for line in lines) or "\n  (it printed nothing)"
    return f"\nThe last lines of its log:{said}\nLogs: {log}"
