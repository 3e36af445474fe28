"""A revision's container: started, asked whether it is ready, ended.

Cloud Run starts as many as the requests need, none when there are none. Here each revision that has
traffic or a tag has exactly one.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from tools.rehearsal.host import LOOPBACK
from tools.rehearsal.web import Json

LAST_LINES = 10
GRACE_S = 10  # https://cloud.google.com/run/docs/container-contract#instance-shutdown


class InstanceFailed(Exception):
    """A container could not be started or did not become ready; the message says why."""


class Instance:
    """A container as the process that runs it in the foreground, with its output in a log."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], log: Path, port: int
    ) -> None:
        self.port = port
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
            )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self, probe: Json) -> float:
        """Return after how many seconds its startup probe succeeds.

        InstanceFailed if it ends first or never does.

        https://cloud.google.com/run/docs/configuring/healthchecks
        """
        path = probe["httpGet"]["path"]
        url, period_s = f"http://{LOOPBACK}:{self.port}{path}", probe["periodSeconds"]
        began = time.monotonic()
        end = began + probe["failureThreshold"] * period_s
        while answer := _ask(url, probe["timeoutSeconds"]):
            if not self.runs:
                raise InstanceFailed(f"The container did not start. {self._how_it_ended()}")
            if time.monotonic() > end:
                raise InstanceFailed(f"The container failed its startup probe {path}: {answer}")
            time.sleep(period_s)
        return time.monotonic() - began

    def _how_it_ended(self) -> str:
        """Return its exit status and its last words."""
        how = f"Container called exit({self._process.returncode})."  # 137: killed, or out of memory
        lines = self._log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        said = "".join(f"\n  {line}" for line in lines) or "\n  (it printed nothing)"
        return f"{how}\nThe last lines of its log:{said}\nLogs: {self._log}"

    def stop(self) -> None:
        """End it; return once it has ended."""
        self._process.terminate()  # docker passes it on
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._process.kill()  # a container that stays all the same is found by whoever looks
        self._process.wait()


Launcher = Callable[[Json, int], Instance]  # a revision, and the port to listen on


def _ask(url: str, timeout_s: float) -> str:
    """Return what is wrong with the answer to a probe, nothing where all is well."""
    try:
        answer = requests.get(url, timeout=timeout_s)
    except requests.RequestException as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if answer.ok else f"status {answer.status_code}"


def container_of(revision: Json) -> Json:
    """Return the one container of a revision's spec."""
    container: Json = revision["spec"]["containers"][0]
    return container
