"""nginx on loopback, which hands out pictures: it takes so little that nobody waits for it."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.benchmarks.processes.child import LOOPBACK, Child, Failed, free_port
from v3.gateway.system import find_nginx

CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid "{folder}/pid";
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    server {{
        listen {address}:{port};
        root "{root}";
    }}
}}
"""

PART_S = 3 * 3600  # longer than any part of the benchmark takes


@dataclass(frozen=True)
class PictureHost:
    """A running host of pictures.

    Attributes:
        pid: of its first process.
        port: where it listens.
    """

    pid: int
    port: int

    def url(self, picture: Path) -> str:
        """Return the address of a picture."""
        return f"http://{LOOPBACK}:{self.port}/{picture.name}"


@contextmanager
def picture_host(pictures: Path) -> Iterator[PictureHost]:
    """Run nginx with the pictures of one folder."""
    nginx, port = find_nginx(os.environ.get("PATH", "")), free_port()
    with TemporaryDirectory(prefix="imgserve-bench-") as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(_configuration(folder, port, pictures), encoding="utf-8")
        command = (nginx, "-e", "stderr", "-p", folder, "-c", str(config))
        with Child("picture-host", command, os.environ, limit_s=PART_S) as child:
            child.wait_until(lambda: accepts(port))
            yield PictureHost(child.pid, port)


def _configuration(folder: str, port: int, pictures: Path) -> str:
    # As root, nginx would read the pictures as nobody, who may not.
    user = "user root;" if os.geteuid() == 0 else ""
    return CONFIGURATION.format(
        user=user, folder=folder, address=LOOPBACK, port=port, root=pictures
    )


def accepts(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def require_programs() -> None:
    """Check that what the system must have is there.

    Raises:
        Failed: a program is missing; the message says how to install it.
    """
    for name, package in (("wrk", "wrk"), ("timeout", "coreutils")):
        if not shutil.which(name):
            raise Failed(f"{name} is not installed: apt-get install {package} (Debian, Ubuntu)")
    find_nginx(os.environ.get("PATH", ""))
