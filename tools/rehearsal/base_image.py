"""The image that all others start from: pulled, or a stand-in for it from Debian's own packages."""

import ast
import configparser
import io
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.rehearsal.docker import LONG_S, Docker
from tools.rehearsal.host import LOOPBACK, HostFailed, find, listens, running
from tools.rehearsal.instance import free_port

IMAGE = "python:3.11-slim-bookworm"
RELEASE = "bookworm"  # its python3 is 3.11
PACKAGES = "python3,python3-venv,ca-certificates"
LIMIT_S = 1200
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"  # of Debian
# What a slim image does without.
TRIMMED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale")
EMPTIED = ("var/lib/apt/lists", "var/cache/apt", "var/log")
CARRIED = ("index-url", "extra-index-url", "find-links", "trusted-host", "timeout", "retries")


@contextmanager
def python_image(
    docker: Docker, folder: Path, cache: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Have the image until the end of the block.

    Raises:
        HostFailed: it cannot be pulled, and there can be no stand-in.
    """
    if docker.succeeds("image", "inspect", IMAGE) or docker.succeeds(
        "pull", "--quiet", IMAGE, limit_s=LONG_S
    ):
        yield
        return
    if not docker.is_private:
        raise HostFailed(
            f"{IMAGE} cannot be pulled, and in a Docker daemon that is not the rehearsal's own"
            " no stand-in takes its name."
        )
    say(f"{IMAGE} cannot be pulled: a Debian with its own Python stands in for it.")
    settings = pip_settings()
    with carried(settings, folder) as conf:
        whole = folder / "rootfs.tar"
        combine(_rootfs(cache), {"etc/pip.conf": conf.encode(), **_trust(settings)}, whole)
        with whole.open("rb") as stream:
            docker.run("import", '--change=CMD ["python3"]', "-", IMAGE, stdin=stream, limit_s=300)
        whole.unlink()
        yield


def _rootfs(cache: Path) -> Path:
    """Return a tar archive of a Debian with Python; it is made once for all rehearsals."""
    archive = cache / f"python-{RELEASE}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            tree = Path(folder) / "rootfs"
            _bootstrap(tree)
            for name in (*TRIMMED, *EMPTIED):
                shutil.rmtree(tree / name, ignore_errors=True)
            for name in (*EMPTIED, "var/lib/apt/lists/partial"):
                (tree / name).mkdir(parents=True)
            (tree / "usr" / "bin" / "python").symlink_to("python3")
            draft = Path(folder) / "rootfs.tar"
            with tarfile.open(draft, "w") as file:
                file.add(tree, ".")
            draft.replace(archive)
    return archive


def _bootstrap(tree: Path) -> None:
    program = find("debootstrap")
    if not program or os.geteuid():
        raise HostFailed(
            f"The image {IMAGE} cannot be pulled. To make a stand-in for it, install the package"
            " debootstrap and run this as root."
        )
    done = subprocess.run(
        [program, "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(tree)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise HostFailed(f"debootstrap failed:\n{(done.stdout + done.stderr)[-1000:]}")


def combine(archive: Path, files: Mapping[str, bytes], whole: Path) -> None:
    """Write an archive with these files in place of its own: docker takes no name twice."""
    with tarfile.open(archive) as old, tarfile.open(whole, "w") as new:
        for member in old:
            if member.name.removeprefix("./") not in files:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, content in files.items():
            about = tarfile.TarInfo(f"./{name}")
            about.size, about.mode = len(content), 0o644
            new.addfile(about, io.BytesIO(content))


def _trust(settings: Mapping[str, str]) -> dict[str, bytes]:
    """Return the certificates that this machine's pip trusts, as a file of the image."""
    places = [settings.get("cert"), os.environ.get("SSL_CERT_FILE"), f"/{CERTIFICATES}"]
    places.append(ssl.get_default_verify_paths().cafile)
    files = [Path(place) for place in places if place and Path(place).is_file()]
    return {CERTIFICATES: files[0].read_bytes()} if files else {}


def pip_settings() -> dict[str, str]:
    """Return the options that pip takes from its files and from PIP_* here."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    return parsed(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def parsed(text: str) -> dict[str, str]:
    """Return the options in what `pip config list` prints; the environment's win."""
    found: dict[str, str] = {}
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    for key, _, value in sorted(pairs, key=lambda pair: pair[0].startswith(":env:")):
        section, _, option = key.rpartition(".")
        if section in {"global", "install", ":env:"}:
            found[option.replace("default-timeout", "timeout")] = str(ast.literal_eval(value))
    return found


@contextmanager
def carried(settings: Mapping[str, str], logs: Path) -> Iterator[str]:
    """Yield a pip.conf that works in a container on this machine's network.

    Folders of find-links are served to it until the end of the block. Indexes on disk are left
    out: their files may be anywhere.
    """
    kept = {name: settings[name].split() for name in CARRIED if name in settings}
    with ExitStack() as stack:
        if "find-links" in kept:
            places = kept["find-links"]
            kept["find-links"] = [stack.enter_context(_served(place, logs)) for place in places]
        options = {"cert": f"/{CERTIFICATES}"}
        for name, words in kept.items():
            options[name] = " ".join(word for word in words if not word.startswith("file:"))
        parser = configparser.RawConfigParser()
        parser["global"] = {name: text for name, text in options.items() if text.strip()}
        text = io.StringIO()
        parser.write(text)
        yield text.getvalue()


@contextmanager
def _served(place: str, logs: Path) -> Iterator[str]:
    """Yield an address of a place of find-links; nothing where it is not there."""
    path = unquote(urlsplit(place).path) if place.startswith("file:") else place
    folder = Path(path).expanduser()
    if urlsplit(place).scheme in {"http", "https"} or not folder.is_dir():
        yield place if urlsplit(place).scheme in {"http", "https"} else ""
        return
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", LOOPBACK, str(port)]
    command += ["--directory", str(folder)]
    with running(command, logs / "find-links.log", lambda: listens(port)):
        yield f"http://{LOOPBACK}:{port}/"
