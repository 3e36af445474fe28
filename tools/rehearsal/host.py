"""What a rehearsal needs of this machine: programs, processes, ports, a registry, the code."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

LOOPBACK = "127.0.0.1"
PORTS = range(16_000, 32_000)  # Linux gives connections those from 32768 on
# Daemons are not on everybody's PATH.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Any of these names, and where to get it.
NEEDS: dict[tuple[str, ...], str] = {
    ("docker",): "the package docker.io, or docker-cli where that is one of its own",
    ("dockerd",): "the package docker.io of Debian and Ubuntu, or docs.docker.com/engine/install",
    ("docker-registry",): "the package docker-registry",
    ("gcloud",): "the Google Cloud CLI, cloud.google.com/sdk/docs/install (it is not in Debian)",
    ("git",): "the package git",
    ("curl",): "the package curl",
    ("nginx",): "the package nginx",
    ("openssl",): "the package openssl",
    CHROMIUM: "the package chromium",
}
START_S, STOP_S, POLL_S = 60.0, 30.0, 0.1
SHOWN_LINES = 10


class RehearsalFailed(Exception):
    """Something is missing or is not as it should be; the message says what."""


def say(text: str) -> None:
    """Show a text to the person who waits."""
    sys.stderr.write(f"{text}\n")  # in one piece: several threads write
    sys.stderr.flush()


def find(*names: str) -> str | None:
    """Return where the first of these programs is that is installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing() -> list[str]:
    """Return a sentence for each program that is not installed."""
    lacking = {names[0]: source for names, source in NEEDS.items() if not find(*names)}
    return [f"{name} is missing: {source}" for name, source in lacking.items()]


class Process:
    """A process in the background, with all that it says in a log; Ctrl-C does not reach it."""

    def __init__(
        self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [find(command[0]) or command[0], *command[1:]],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(
        self, is_ready: Callable[[], bool], limit_s: float, period_s: float
    ) -> float:
        """Return after how many seconds it is ready, asking every so many.

        RehearsalFailed, with its last lines, where it ends first or is not in time.
        """
        began = time.monotonic()
        while not is_ready():
            if not self.runs:  # 137: killed, or out of memory
                self._fail(f"ended by itself with exit status {self._process.returncode}")
            if time.monotonic() - began > limit_s:
                self._fail(f"is not ready after {limit_s:.0f} s")
            time.sleep(period_s)
        return time.monotonic() - began

    def _fail(self, how: str) -> NoReturn:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-SHOWN_LINES:]
        said = lines or ["(it printed nothing)"]
        raise RehearsalFailed(
            "\n  ".join([f"{self._log.stem} {how}; the end of {self._log}:", *said])
        )

    def stop(self, grace_s: float) -> None:
        """End it, by force after so many seconds, with all that it started."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Have a process until the end of the block; RehearsalFailed where it does not become ready."""
    with ThreadPoolExecutor(1) as pool:
        # Started by another thread, since a signal interrupts this one: the process is never lost.
        started = pool.submit(Process, command, log)
        try:
            started.result().wait_until_ready(is_ready, START_S, POLL_S)
            yield
        finally:
            started.result().stop(STOP_S)


def listens(port: int) -> bool:
    """Return whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that no outgoing connection is given meanwhile."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(PORTS)  # noqa: S311  not a secret
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
            found.add(port)
    return sorted(found)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry of images until the end of the block; yield its host and port."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    images = {"filesystem": {"rootdirectory": str(folder / "images")}, "delete": {"enabled": True}}
    log = {"level": "warn", "accesslog": {"disabled": True}}
    http = {"addr": f"{LOOPBACK}:{port}"}
    settings = {"version": 0.1, "log": log, "storage": images, "http": http}
    config = folder / "config.yml"
    config.write_text(json.dumps(settings), "utf-8")  # YAML, of which JSON is a part
    command = ["docker-registry", "serve", str(config)]
    with running(command, folder / "registry.log", lambda: listens(port)):
        yield f"{LOOPBACK}:{port}"


def copy_source(root: Path, copy: Path) -> None:
    """Copy what git knows or would know of, as it is in the working tree of a repository."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    command += ["--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise RehearsalFailed(f"git ls-files in {root}: {listed.stderr.strip()}")
    for name in listed.stdout.split("\0"):
        if name and (root / name).is_file():  # a deleted file is listed until it is committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)
