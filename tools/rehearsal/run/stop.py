"""The end of a rehearsal's containers and of its router."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.rehearsal.run.docker import Docker
from tools.rehearsal.run.nginx import Nginx

AT_ONCE = 8  # each may take ten seconds to end


def router_folder(root: Path) -> Path:
    """Return where nginx keeps its files."""
    return root / "run" / "nginx"


def stop_all(environ: Mapping[str, str], folder: Path) -> None:
    """Stop and remove every container of the rehearsal in this folder, and its router.

    The server must have ended: it would start them again. Documents and logs stay.

    Raises:
        DockerFailed: the daemon does not answer.
    """
    root = folder.resolve()
    Nginx(router_folder(root), environ).stop()
    docker = Docker(environ, root)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(docker.stop, [found.name for found in docker.ours()]))
