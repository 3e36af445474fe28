"""A stand-in for the image python:3.11-slim-bookworm, from Debian's own packages."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.rehearsal.host.failures import HostFailed
from tools.rehearsal.host.needs import find

RELEASE = "bookworm"  # its python3 is 3.11
PACKAGES = "python3,python3-venv,ca-certificates"
LIMIT_S = 1200
# What a slim image does without.
TRIMMED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale")
EMPTIED = ("var/lib/apt/lists", "var/cache/apt", "var/log")


def rootfs(cache: Path) -> Path:
    """Return a tar archive of a Debian with Python; it is made once for all rehearsals.

    Raises:
        HostFailed: it cannot be made.
    """
    archive = cache / f"python-{RELEASE}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            tree = Path(folder) / "rootfs"
            _bootstrap(tree)
            _trim(tree)
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
            "The image python:3.11-slim-bookworm cannot be pulled. To make a stand-in for it,"
            " install the package debootstrap and run this as root."
        )
    log = tree.parent / "debootstrap.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [program, "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(tree)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise HostFailed(f"debootstrap failed:\n{log.read_text('utf-8', 'replace')[-1000:]}")


def _trim(tree: Path) -> None:
    for name in TRIMMED:
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in EMPTIED:
        shutil.rmtree(tree / name, ignore_errors=True)
        (tree / name).mkdir(parents=True)
    (tree / "var/lib/apt/lists/partial").mkdir()
