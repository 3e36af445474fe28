"""The image that all others start from: pulled, or a stand-in for it."""

import io
import os
import ssl
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.rehearsal.host.debian import rootfs
from tools.rehearsal.host.docker import Docker
from tools.rehearsal.host.failures import HostFailed
from tools.rehearsal.host.pip import carried, pip_settings

IMAGE = "python:3.11-slim-bookworm"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"  # of Debian


@contextmanager
def python_image(
    docker: Docker, folder: Path, cache: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Have the image until the end of the block.

    Raises:
        HostFailed: it cannot be pulled, and there can be no stand-in.
    """
    if docker.has(IMAGE) or docker.pulls(IMAGE):
        yield
        return
    if not docker.is_private:
        raise HostFailed(
            f"{IMAGE} cannot be pulled, and in a Docker daemon that is not the rehearsal's own"
            " no stand-in takes its name."
        )
    say(f"{IMAGE} cannot be pulled: a Debian with its own Python stands in for it.")
    settings = pip_settings()
    with carried(settings, f"/{CERTIFICATES}", folder) as conf:
        _import(docker, rootfs(cache), {"etc/pip.conf": conf.encode(), **_trust(settings)}, folder)
        yield


def _trust(settings: dict[str, str]) -> dict[str, bytes]:
    """Return the certificates that this machine's pip trusts, as a file of the image."""
    places = [settings.get("cert"), os.environ.get("SSL_CERT_FILE"), f"/{CERTIFICATES}"]
    places.append(ssl.get_default_verify_paths().cafile)
    files = [Path(place) for place in places if place and Path(place).is_file()]
    return {CERTIFICATES: files[0].read_bytes()} if files else {}


def _import(docker: Docker, archive: Path, files: dict[str, bytes], folder: Path) -> None:
    whole = folder / "rootfs.tar"
    combine(archive, files, whole)
    with whole.open("rb") as stream:
        docker.run("import", '--change=CMD ["python3"]', "-", IMAGE, stdin=stream, limit_s=300)
    whole.unlink()


def combine(archive: Path, files: dict[str, bytes], whole: Path) -> None:
    """Write an archive with these files in place of its own: docker takes no name twice."""
    with tarfile.open(archive) as old, tarfile.open(whole, "w") as new:
        for member in old:
            if member.name.removeprefix("./") not in files:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, content in files.items():
            about = tarfile.TarInfo(f"./{name}")
            about.size, about.mode = len(content), 0o644
            new.addfile(about, io.BytesIO(content))
