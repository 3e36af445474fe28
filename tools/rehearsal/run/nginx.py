"""The nginx process: started once, told about each change, found again after a restart."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"  # not on everybody's PATH
LIMIT_S = 30
POLL_S = 0.05
# The old worker goes on accepting for a tenth of a second after the new one has begun
# (ngx_process_cycle.c waits 100 ms before it tells the old one).
SETTLED = 8  # new answers in a row


class NginxFailed(Exception):
    """nginx did not take the configuration; the message is what it said."""


class Nginx:
    """One nginx in one folder."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._path = folder / "nginx.conf"
        self._count = 0

    def apply(self, text: str, version_port: int) -> None:
        """Make nginx work by this configuration; return when every request meets the new one.

        Raises:
            NginxFailed: it does not accept it. It goes on with the one before.
        """
        self._count += 1
        version = f"{os.getpid()}.{self._count}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path.write_text(text.replace("@VERSION@", version), "utf-8")
        self._command(*(("-s", "reload") if self.running_id() else ()))
        if not _until(lambda: _settled(version_port, version)):
            raise NginxFailed(f"nginx does not use its new configuration; see {self._log}")

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        process = self.running_id()
        if process:
            os.kill(process, signal.SIGTERM)
            _until(lambda: self.running_id() is None)

    def running_id(self) -> int | None:
        """Return the process that runs by our file, or None."""
        try:
            process = int((self._folder / "nginx.pid").read_text("ascii"))
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # Another process may have got the number since: its command line says.
        return process if any(str(self._path).encode() in word for word in words) else None

    @property
    def _log(self) -> Path:
        return self._folder / "nginx.log"

    def _command(self, *arguments: str) -> None:
        path = f"{self._environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}"
        program = shutil.which("nginx", path=path)
        if program is None:
            raise NginxFailed("nginx is not installed: apt-get install nginx-light")
        files = {"-p": self._folder, "-c": self._path, "-e": self._log}
        options = [str(word) for pair in files.items() for word in pair]
        done = subprocess.run(
            [program, *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise NginxFailed(done.stderr.strip())


def _settled(port: int, version: str) -> bool:
    for _ in range(SETTLED):
        if _version(port) != version:
            return False
        time.sleep(POLL_S)
    return True


def _version(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def _until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True
