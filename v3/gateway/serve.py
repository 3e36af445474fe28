"""Find nginx, and run it in the foreground until it is told to stop."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from imgserve.errors import ImgserveError

DEBIAN_FOLDER = "/usr/sbin"  # where Debian has it, which is not in everybody's PATH


class NginxMissing(ImgserveError): ...


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
    signal.signal(signal.SIGCHLD, lambda *_: None)  # macOS forgets a signal that nobody handles
    # Waited for, and never handled; nginx has a mask of its own.
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    # -e: what goes wrong before the configuration is read must not go to a file either.
    process = subprocess.Popen([nginx, "-e", "stderr", "-p", config.parent, "-c", config])
    is_stopped = False
    while process.poll() is None:
        if signal.sigwait(awaited) != signal.SIGCHLD:
            is_stopped = True
            process.send_signal(signal.SIGQUIT)
    return 0 if is_stopped else process.returncode or 1
