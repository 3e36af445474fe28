"""A build's workspace: the uploaded archive, unpacked."""

import tarfile
import zipfile
import zlib
from pathlib import Path


class SourceUnusable(Exception):
    """The uploaded archive cannot be unpacked."""


def unpack(archive: Path, workspace: Path) -> int:
    """Unpack an archive into the workspace; return how many files it has.

    Raises:
        SourceUnusable: it is neither a tar nor a zip archive, or reaches out of the workspace.
    """
    workspace.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            return _unzip(archive, workspace)
        with tarfile.open(archive) as file:
            # "data" refuses links and names that lead out, devices and foreign owners.
            file.extractall(workspace, filter="data")
            return len(file.getnames())
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error) as exc:
        raise SourceUnusable(f"the source archive cannot be unpacked: {exc}") from exc


def _unzip(archive: Path, workspace: Path) -> int:
    with zipfile.ZipFile(archive) as file:
        file.extractall(workspace)  # noqa: S202 (zipfile itself drops ".." and drive letters)
        return len(file.namelist())
