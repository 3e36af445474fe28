"""The image that all others start from: pulled, or a stand-in for it from Debian's own packages."""

import http.server
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tools.rehearsal.docker import LONG_S, Docker
from tools.rehearsal.host import LOOPBACK, HostFailed, find

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
    with pip_configuration() as configuration:
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
def pip_configuration() -> Iterator[str]:
    """Yield a pip.conf that says in a container what PIP_* variables say here.

    Folders of packages are served until the end of the block.
    """
    settings = {name: os.environ.get(f"PIP_{name}", "").split() for name in CARRIED}
    with ExitStack() as stack:
        folders = [Path(place) for place in settings["FIND_LINKS"]]
        settings["FIND_LINKS"] = [
            stack.enter_context(_served(folder)) for folder in folders if folder.is_dir()
        ]
        options = {
            name.lower().replace("_", "-"): " ".join(words)
            for name, words in {**settings, "CERT": [CERTIFICATES]}.items()
            if words
        }
        yield "\n".join(["[global]", *(f"{name} = {text}" for name, text in options.items()), ""])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Yield the address at which the files of a folder are."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}/"
        finally:
            server.shutdown()
