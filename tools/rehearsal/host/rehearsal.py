"""All that a rehearsal stands on, begun and ended in the right order."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.rehearsal.gcloud import clean_environ, gcloud_environ
from tools.rehearsal.host.daemon import daemon
from tools.rehearsal.host.docker import Docker
from tools.rehearsal.host.ports import free_port, listens
from tools.rehearsal.host.process import Process
from tools.rehearsal.host.python_image import python_image
from tools.rehearsal.host.registry import registry
from tools.rehearsal.host.source import copy_source
from tools.rehearsal.run import stop_all

PROJECT = "rehearsal"
START_S = 60
STOP_S = 40  # builds under way are ended, containers get ten seconds
# What the scripts read: a person's own values are not for this project.
SETTINGS = {
    *("REGION", "REPO_NAME", "MODELS", "MODEL_NAME", "PRECISION", "TAG", "PRIVATE", "YES"),
    *("MIN_INSTANCES", "MAX_INSTANCES"),
}


@dataclass(frozen=True)
class Rehearsal:
    """Where everything is.

    Attributes:
        folder: of all files.
        source: the copy of the repository.
        cloud: the stand-ins' folder.
        registry: host and port.
        docker: the daemon that builds and runs.
        environ: what the scripts are to see.
    """

    folder: Path
    source: Path
    cloud: Path
    registry: str
    docker: Docker
    environ: Mapping[str, str]


@contextmanager
def rehearsal(
    folder: Path, root: Path, cache: Path, say: Callable[[str], None]
) -> Iterator[Rehearsal]:
    """Have a cloud until the end of the block.

    Args:
        folder: an empty one.
        root: of the repository.
        cache: what is kept for the next rehearsal.
        say: tells the person who waits.

    Raises:
        HostFailed: something is missing or does not work.
    """
    source, cloud = folder / "source", folder / "cloud"
    copy_source(root, source)
    clean = {name: value for name, value in clean_environ().items() if name not in SETTINGS}
    with (
        daemon(folder / "docker", clean) as docker,
        registry(folder / "registry", docker) as address,
        python_image(docker, folder, cache, say),
        _images_of(docker, address),
        _cloud(cloud, root, docker, address) as port,
    ):
        own = {"PROJECT_ID": PROJECT, "REGISTRY": address, "PAUSE_S": "1"}
        environ = {**docker.environ, **gcloud_environ(cloud, port, PROJECT), **own}
        yield Rehearsal(folder, source, cloud, address, docker, environ)


@contextmanager
def _images_of(docker: Docker, address: str) -> Iterator[None]:
    """Remove the registry's images from a daemon that is not ours alone, at the end."""
    try:
        yield
    finally:
        if not docker.is_private:
            for image in docker.images(address):
                docker.succeeds("rmi", image)


@contextmanager
def _cloud(folder: Path, root: Path, docker: Docker, address: str) -> Iterator[int]:
    """Run the stand-ins until the end of the block, then their containers are gone, too."""
    port = free_port()
    environ = {
        **docker.environ,
        "REHEARSAL_REGISTRY": address,
        "REHEARSAL_DOCKER_FLAGS": "--network host",  # a private daemon has no other one
        "PYTHONUNBUFFERED": "1",
    }
    module = ["-m", "tools.rehearsal.server", "--folder", str(folder), "--port", str(port)]
    process = Process([sys.executable, *module], folder / "server.log", environ, root)
    try:
        process.wait_until(lambda: listens(port), START_S)
        yield port
    finally:
        process.stop(STOP_S)
        stop_all(environ, folder)
