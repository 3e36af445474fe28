"""Models compiled for tests, kept between runs for as long as what compiles them is the same."""

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import filelock

COMPILERS = ("torch", "torchvision", "openvino", "nncf")
SOURCES = ("imgserve/compile/*.py", "imgserve/models/compiled_model.py")


def key(root: Path) -> str:
    """Return what the compiled models depend on, as a folder's name."""
    digest = hashlib.sha256("".join(version(name) for name in COMPILERS).encode())
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def compiled(kept: Path, root: Path, name: str, *arguments: str) -> Path:
    """Return a folder of models, compiled by the command unless they are kept.

    What other versions compiled is removed.
    """
    folder = kept / key(root)
    with filelock.FileLock(kept / "lock"):
        for old in set(kept.iterdir()) - {folder, kept / "lock"}:
            shutil.rmtree(old)
        if not (folder / name).exists():
            draft = folder / f"{name}.draft"
            command = [sys.executable, "-m", "imgserve.compile", *arguments, "--out", str(draft)]
            subprocess.run(command, cwd=root, check=True)
            draft.rename(folder / name)
    return folder / name
