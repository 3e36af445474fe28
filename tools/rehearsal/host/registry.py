"""A real registry on loopback, with its images in the rehearsal's folder."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.rehearsal.host.docker import Docker
from tools.rehearsal.host.failures import HostFailed
from tools.rehearsal.host.needs import find
from tools.rehearsal.host.ports import LOOPBACK, free_port, listens
from tools.rehearsal.host.process import Process

IMAGE = "registry:2"
START_S = 30
STOP_S = 10


@contextmanager
def registry(folder: Path, docker: Docker) -> Iterator[str]:
    """Run a registry until the end of the block; yield its host and port.

    Raises:
        HostFailed: Debian's program is not installed and the image cannot be pulled.
    """
    port = free_port()
    program = find("docker-registry")
    run = _program(program, folder, port) if program else _container(docker, port)
    with run:
        yield f"{LOOPBACK}:{port}"


@contextmanager
def _program(program: str, folder: Path, port: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(_config(folder / "images", port), "utf-8")
    process = Process([program, "serve", str(config)], folder / "registry.log")
    try:
        process.wait_until(lambda: listens(port), START_S)
        yield
    finally:
        process.stop(STOP_S)


def _config(images: Path, port: int) -> str:
    """Return the registry's configuration: YAML, of which JSON is a part."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(images)}, "delete": {"enabled": True}},
            "http": {"addr": f"{LOOPBACK}:{port}"},
        }
    )


@contextmanager
def _container(docker: Docker, port: int) -> Iterator[None]:
    if not docker.has(IMAGE) and not docker.pulls(IMAGE):
        raise HostFailed(
            "There is no registry: install the package docker-registry"
            f" (the image {IMAGE} cannot be pulled)."
        )
    name = f"rehearsal-registry-{secrets.token_hex(4)}"
    address = f"REGISTRY_HTTP_ADDR={LOOPBACK}:{port}"
    docker.run("run", "--detach", f"--name={name}", "--network=host", f"--env={address}", IMAGE)
    try:
        yield
    finally:
        docker.run("rm", "--force", "--volumes", name)
