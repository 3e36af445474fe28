"""Images of a build: none of the project's before it, its own in the registry after it."""

import re
import subprocess
import threading
from collections.abc import Callable

from tools.rehearsal.builds import process
from tools.rehearsal.builds.command import Command
from tools.rehearsal.builds.machine import Machine

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
_LIST = ["docker", "images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]
LIST_S = 60


class PushFailed(Exception):
    """An image is not in the registry; ``failure`` is its kind in Google's list."""

    def __init__(self, message: str, failure: str) -> None:
        super().__init__(message)
        self.failure = failure


def forget_images(machine: Machine, project: str, environ: dict[str, str]) -> list[str]:
    """Remove the project's images from the daemon, as a new worker has none; return their names.

    An image that a container runs from stays, and no other image is touched.
    """
    if not machine.registry:
        return []
    ours = f"{machine.registry}/{project}/"
    listed = _docker(_LIST, environ).splitlines()
    names = [_reference(*line.split(" ")) for line in listed if line.startswith(ours)]
    return [name for name in names if _docker(["docker", "rmi", name], environ)]


def push(
    image: str, say: Callable[[str], None], machine: Machine, build: str, halt: "Deadline"
) -> str:
    """Push an image; return its digest.

    Raises:
        PushFailed: there is no such image, or the registry did not take it.
    """
    environ = machine.step_environ(build)
    if not _docker(["docker", "image", "inspect", "--format", "{{.Id}}", image], environ):
        message = f'failed to find one or more images after execution of build steps: ["{image}"]'
        raise PushFailed(message, "PUSH_IMAGE_NOT_FOUND")
    digests: list[str] = []

    def line(text: str) -> None:
        say(text)
        digests.extend(_DIGEST.findall(text))

    command = Command(["docker", "push", image], environ, machine.build_folder(build))
    _, code = process.run(command, line, *halt)
    if code or not digests:
        raise PushFailed(f"failed to push {image}: exit status {code}", "PUSH_FAILED")
    return digests[-1]


Deadline = tuple[threading.Event, float]


def _reference(repository: str, tag: str, digest: str) -> str:
    return f"{repository}@{digest}" if tag == "<none>" else f"{repository}:{tag}"


def _docker(argv: list[str], environ: dict[str, str]) -> str:
    """Return what a docker command printed; nothing where it failed."""
    try:
        done = subprocess.run(
            argv, env=environ, capture_output=True, text=True, timeout=LIST_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
