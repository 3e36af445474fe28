"""Programs of a run: measured with their children, put under load, always ended.

wrk puts load on servers, nginx hosts the pictures: both take so little CPU that no server waits.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import cast

import msgspec
import psutil
import requests

from imgserve.errors import ImgserveError
from tools.benchmarks.plan import HERE, SCRATCH, SIZES, sample_photograph
from tools.process import LOOPBACK, Failed, Process, free_port, listens, running
from v3.gateway.serve import find_nginx

# Longer than any answer takes; wrk's own limit is 2 s.
ANSWER_S = 60
# Reading the memory of a process of 300 MB takes about 5 ms: at this pace 1 % of a core.
MEMORY_PAUSE_S = 0.5
MB = 1e6


def exit_status(work: Callable[[], int]) -> int:
    """Return what some work returns; where it fails or is interrupted, say so and return a status.

    SIGTERM ends it as Ctrl-C does: everything it started is stopped. A shell's background jobs
    ignore Ctrl-C unless told otherwise.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return work()
    except (Failed, ImgserveError) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is stopped")
        return 130  # as a shell says it: 128 and the signal's number


def say(text: str) -> None:
    """Write a line with the time to standard error."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def require_programs() -> None:
    """Check that what is needed is installed; Failed or NginxMissing says how to install it."""
    if not shutil.which("wrk"):
        raise Failed("wrk is not installed: apt-get install wrk (Debian, Ubuntu)")
    find_nginx(os.environ.get("PATH", ""))


def child(
    name: str, command: Sequence[str], environ: Mapping[str, str]
) -> contextlib.AbstractContextManager[Process]:
    """Run a process until the end of the block."""
    return running(command, SCRATCH / "logs" / f"{name}.log", environ, stop_s=6)


def tree(pids: Iterable[int]) -> Iterator[psutil.Process]:
    """Yield these processes and their descendants, as far as they are still there."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(pid)
            yield from (first, *first.children(recursive=True))


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of process trees, including children that were waited for."""
    total = 0.0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of process trees (PSS): what processes share is counted once."""
    total = 0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / MB


def upload(address: str, picture: bytes) -> requests.PreparedRequest:
    """Return a request that carries a JPEG in a form, as a browser sends it."""
    files = {"image": ("picture", picture, "image/jpeg")}
    return requests.Request("POST", address, files=files).prepare()


def put_load(
    request: requests.PreparedRequest, *, clients: int, seconds: float, pids: Sequence[int] = ()
) -> dict[str, float]:
    """Return what clients were answered, each of which asks again as soon as it has its answer.

    e.g. ``{"answers": 281, "failed": 0, "seconds": 3.0, "rate": 93.7, "p50_ms": 84.2, ...}``. A
    failed answer has a status of 400 or above, or never came. ``peak_mb`` is the most memory that
    the process trees of ``pids`` had meanwhile. Failed where wrk could not do it.
    """
    with NamedTemporaryFile() as body:
        body.write(cast("bytes", request.body))
        body.flush()
        command = ["wrk", "--threads", "1", "--connections", str(clients)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", f"{ANSWER_S}s"]
        command += ["--script", str(HERE / "load.lua"), str(request.url)]
        command += ["--", str(request.headers["Content-Type"]), body.name]
        seen_mb = [0.0]
        with child("wrk", command, os.environ) as wrk:
            while not wrk.has_ended(within_s=MEMORY_PAUSE_S):
                seen_mb.append(memory_mb(pids))
    said = wrk.log.read_bytes()
    lines = [line for line in said.splitlines() if line.startswith(b"{")]
    if not lines:
        raise Failed(f"wrk ended with status {wrk.status}: {said.decode(errors='replace')}")
    counted: dict[str, float] = msgspec.json.decode(lines[-1])
    return {**counted, "peak_mb": max(*seen_mb, memory_mb(pids))}


@contextlib.contextmanager
def picture_host() -> Iterator[str]:
    """Run nginx with the sample photograph in its sizes; yield its address."""
    port = free_port()
    with TemporaryDirectory(prefix="imgserve-bench-") as folder:
        for picture in map(sample_photograph, SIZES):
            Path(folder, picture.name).symlink_to(picture)
        # As root, nginx would read the pictures as nobody, who may not.
        user = "user root;" if os.geteuid() == 0 else ""
        where = {"folder": folder, "address": LOOPBACK, "port": port, "user": user}
        template = Template((HERE / "picture_host.conf").read_text("utf-8"))
        config = Path(folder, "nginx.conf")
        config.write_text(template.substitute(where), encoding="utf-8")
        nginx = find_nginx(os.environ.get("PATH", ""))
        command = (nginx, "-e", "stderr", "-p", folder, "-c", str(config))
        with child("picture-host", command, os.environ) as host:
            host.wait_until(lambda: listens(port))
            yield f"http://{LOOPBACK}:{port}"
