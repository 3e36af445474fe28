"""Find nginx, and run it in the foreground until it is told to stop."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import FrameType

from imgserve.errors import ImgserveError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Where Debian has it, which is not in everybody's PATH.
DEBIAN_FOLDER = "/usr/sbin"


class NginxMissing(ImgserveError):
    """nginx is not installed."""


def find_nginx(path: str) -> str:
    """Return where the program is, looked for in ``path`` first, or NginxMissing."""
    found = shutil.which("nginx", path=os.pathsep.join((path, DEBIAN_FOLDER)))
    if not found:
        raise NginxMissing(
            "the gateway is nginx, which is not installed: "
            "apt-get install nginx (Debian, Ubuntu) or brew install nginx (macOS)"
        )
    return found


def serve(nginx: str, config: Path) -> int:
    """Run nginx until SIGTERM or SIGINT; return its exit status, 0 when it was told to stop.

    It is not put in the place of this process because it takes SIGTERM, with which Cloud Run and
    docker stop a container, for an order to drop the requests it has. It finishes them on SIGQUIT:
    https://nginx.org/en/docs/control.html
    """
    is_stopped = False
    running: list[subprocess.Popen[bytes]] = []

    def drain(_number: int, _frame: FrameType | None) -> None:
        # No lock is taken here: a second signal may come while the first is handled.
        nonlocal is_stopped
        is_stopped = True
        for process in running:
            process.send_signal(signal.SIGQUIT)

    for number in STOP_SIGNALS:
        signal.signal(number, drain)
    # -e: what goes wrong before the configuration is read must not go to a file either.
    command = [nginx, "-e", "stderr", "-p", str(config.parent), "-c", str(config)]
    running.append(subprocess.Popen(command))
    if is_stopped:  # before there was one to tell
        running[0].send_signal(signal.SIGQUIT)
    status = running[0].wait()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # as Python ends, it gives up our handler
    return 0 if is_stopped else status or 1
