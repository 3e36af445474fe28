"""A copy of the repository, in which a test may change what it likes."""

import shutil
from collections.abc import Iterable
from pathlib import Path


def copy_repository(root: Path, files: Iterable[Path], folder: Path) -> None:
    """Copy the repository's files, named from its root, into a folder."""
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, folder / path)
