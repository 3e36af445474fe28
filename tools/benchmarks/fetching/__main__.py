"""Fetch files, prepare them, become a server: ``python -m tools.benchmarks.fetching JOB``."""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import msgspec

from tools.benchmarks.fetching.job import Job

FETCH_S = 60


def main(text: str) -> None:
    """Do a job; does not come back.

    Raises:
        URLError: a file cannot be had.
        CalledProcessError: a command failed.
    """
    job = msgspec.json.decode(text, type=Job)
    for path, address in job.files.items():
        _fetch(address, Path(path))
    *first, server = job.commands
    for command in first:
        subprocess.run(command, check=True)
    os.execv(server[0], server)


def _fetch(address: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(address, timeout=FETCH_S) as answer, path.open("wb") as file:  # noqa: S310  our own host
        shutil.copyfileobj(answer, file)


if __name__ == "__main__":
    main(sys.argv[1])
