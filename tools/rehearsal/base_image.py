"""The image that all others start from: pulled, or a stand-in for it from Debian's own packages."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.rehearsal.docker import LONG_S, Docker
from tools.rehearsal.host import LOOPBACK, HostFailed, find, free_ports, listens, running

IMAGE = "python:3.11-slim-bookworm"
SCRIPT = Path(__file__).with_suffix(".sh")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # of Debian
# What this machine trusts, and where its pip looks.
DOCKERFILE = f"""\
FROM debian-with-python
COPY certificates {CERTIFICATES}
COPY pip.conf /etc/pip.conf
CMD ["python3"]
"""
CARRIED = ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "TRUSTED_HOST")


@contextmanager
def python_image(
    docker: Docker, folder: Path, cache: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Have the image until the end of the block.

    Raises:
        HostFailed: it cannot be pulled, and there can be no stand-in.
    """
    if docker.succeeds("pull", "--quiet", IMAGE, limit_s=LONG_S):
        yield
        return
    say(f"{IMAGE} cannot be pulled: a Debian with its own Python stands in for it.")
    docker.run("import", str(_debian(cache)), "debian-with-python", limit_s=LONG_S)
    trusted = os.environ.get("SSL_CERT_FILE") or CERTIFICATES
    with pip_configuration(folder / "find-links.log") as configuration:
        context = folder / "base_image"
        context.mkdir()
        (context / "Dockerfile").write_text(DOCKERFILE, "utf-8")
        (context / "certificates").write_bytes(Path(trusted).read_bytes())
        (context / "pip.conf").write_text(configuration, "utf-8")
        docker.run("build", f"--tag={IMAGE}", str(context))
        yield


def _debian(cache: Path) -> Path:
    """Return a tar archive of a Debian with Python; it is made once for all rehearsals."""
    archive = cache / "python-bookworm.tar"
    if archive.exists():
        return archive
    if not find("debootstrap"):
        raise HostFailed(
            f"{IMAGE} cannot be pulled. Install debootstrap to make a stand-in for it."
        )
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    done = subprocess.run([SCRIPT, archive], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostFailed(f"debootstrap failed:\n{(done.stdout + done.stderr)[-1000:]}")
    return archive


@contextmanager
def pip_configuration(log: Path) -> Iterator[str]:
    """Yield a pip.conf that says in a container what PIP_* variables say here.

    Folders of packages are served until the end of the block.
    """
    settings = {name: os.environ.get(f"PIP_{name}", "").split() for name in CARRIED}
    with ExitStack() as stack:
        folders = [Path(place) for place in settings["FIND_LINKS"]]
        settings["FIND_LINKS"] = [
            stack.enter_context(_served(folder, log)) for folder in folders if folder.is_dir()
        ]
        options = {
            name.lower().replace("_", "-"): " ".join(words)
            for name, words in {**settings, "CERT": [CERTIFICATES]}.items()
            if words
        }
        yield "\n".join(["[global]", *(f"{name} = {text}" for name, text in options.items()), ""])


@contextmanager
def _served(files: Path, log: Path) -> Iterator[str]:
    """Yield the address at which the files of a folder are."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "http.server", f"--bind={LOOPBACK}", str(port)]
    with running([*command, f"--directory={files}"], log, lambda: listens(port)):
        yield f"http://{LOOPBACK}:{port}/"
