"""A copy of the repository, in which the rehearsal may change what it likes."""

import os
import shutil
import subprocess
from pathlib import Path

from tools.rehearsal.host.failures import HostFailed

# For the copy: the user's own name and settings are not read.
ANONYMOUS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "rehearsal",
    "GIT_AUTHOR_EMAIL": "rehearsal@localhost",
    "GIT_COMMITTER_NAME": "rehearsal",
    "GIT_COMMITTER_EMAIL": "rehearsal@localhost",
}
LISTED = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
MESSAGE = "As it was when the rehearsal began"


def copy_source(root: Path, copy: Path) -> None:
    """Copy what git knows or would know of, as it is in the working tree, into a new repository.

    Raises:
        HostFailed: the root is no git repository.
    """
    for name in _git(root, {}, *LISTED).split("\0"):
        if name and (root / name).is_file():  # a deleted file is listed until it is committed
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target, follow_symlinks=False)
    _git(copy, ANONYMOUS, "init", "--quiet")
    _git(copy, ANONYMOUS, "add", "--all")
    _git(copy, ANONYMOUS, "commit", "--quiet", "--no-verify", f"--message={MESSAGE}")


def _git(folder: Path, environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HostFailed(f"git {words[0]} in {folder}: {done.stderr.strip()}")
    return done.stdout
