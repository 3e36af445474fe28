"""What a rehearsal needs of this machine: programs, servers, a registry, the code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.process import LOOPBACK, Failed, free_port, listens, running

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
START_S, STOP_S = 60.0, 30.0


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # in one piece: several threads write
    sys.stderr.flush()


def find(*names: str) -> str | None:
    """Return where the first of these programs is that is installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing() -> list[str]:
    """Return a sentence for each program that is not installed."""
    return [f"{names[0]} is missing: {way}" for names, way in NEEDS.items() if not find(*names)]


@contextmanager
def serving(command: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Have a server until the end of the block; Failed where it does not become ready."""
    with running([find(command[0]) or command[0], *command[1:]], log, stop_s=STOP_S) as server:
        server.wait_until(is_ready, limit_s=START_S)
        yield


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry of images until the end of the block; yield its host and port."""
    folder.mkdir(parents=True)
    port = free_port()
    images = {"filesystem": {"rootdirectory": str(folder / "images")}}
    settings = {"version": 0.1, "storage": images, "http": {"addr": f"{LOOPBACK}:{port}"}}
    config = folder / "config.yml"
    config.write_text(json.dumps(settings), "utf-8")  # YAML, of which JSON is a part
    command = ["docker-registry", "serve", str(config)]
    with serving(command, folder / "registry.log", lambda: listens(port)):
        yield f"{LOOPBACK}:{port}"


def copy_source(root: Path, copy: Path) -> None:
    """Copy what git knows or would know of, as it is in the working tree of a repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise Failed(f"git ls-files in {root}: {listed.stderr.strip()}")
    for name in listed.stdout.split("\0"):
        if name and (root / name).is_file():  # a deleted file is listed until it is committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)
