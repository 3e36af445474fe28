"""nginx on loopback with the sample photographs: it takes so little CPU that no server waits."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tools.benchmarks.paths import HERE, SIZES, sample_photograph
from tools.benchmarks.process import child
from tools.process import LOOPBACK, Failed, free_port, listens
from v3.gateway.serve import find_nginx

CONFIGURATION = Template((HERE / "picture_host.conf").read_text(encoding="utf-8"))


class PictureHost(NamedTuple):
    """A running host of pictures."""

    pid: int
    port: int

    def url(self, picture: Path) -> str:
        """Return the address of a picture."""
        return f"http://{LOOPBACK}:{self.port}/{picture.name}"


@contextmanager
def picture_host() -> Iterator[PictureHost]:
    """Run nginx with the sample photograph in its sizes."""
    port = free_port()
    with TemporaryDirectory(prefix="imgserve-bench-") as folder:
        config = Path(folder, "nginx.conf")
        for picture in map(sample_photograph, SIZES):
            Path(folder, picture.name).symlink_to(picture)
        # As root, nginx would read the pictures as nobody, who may not.
        user = "user root;" if os.geteuid() == 0 else ""
        where = {"folder": folder, "address": LOOPBACK, "port": port, "user": user}
        config.write_text(CONFIGURATION.substitute(where), encoding="utf-8")
        nginx = find_nginx(os.environ.get("PATH", ""))
        command = (nginx, "-e", "stderr", "-p", folder, "-c", str(config))
        with child("picture-host", command, os.environ) as host:
            host.wait_until(lambda: listens(port))
            yield PictureHost(host.pid, port)


def require_programs() -> None:
    """Check that the system has the programs that are needed.

    Raises:
        Failed: one is missing; the message says how to install it.
        NginxMissing: likewise.
    """
    for name, package in (("wrk", "wrk"), ("timeout", "coreutils")):
        if not shutil.which(name):
            raise Failed(f"{name} is not installed: apt-get install {package} (Debian, Ubuntu)")
    find_nginx(os.environ.get("PATH", ""))
