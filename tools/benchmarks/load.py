"""Put load on a server with wrk, which itself takes little of the machine."""

import os
from collections.abc import Sequence
from tempfile import NamedTemporaryFile
from typing import cast

import msgspec
import requests

from tools.benchmarks.paths import HERE
from tools.benchmarks.process import child, memory_mb
from tools.process import Failed

SCRIPT = HERE / "load.lua"
# Longer than any answer takes; wrk's own limit is 2 s.
ANSWER_S = 60
# Reading the memory of a process of 300 MB takes about 5 ms: at this pace 1 % of a core.
MEMORY_PAUSE_S = 0.5


def by_url(address: str, picture_url: str) -> requests.PreparedRequest:
    """Return a request that names a picture's address."""
    return requests.Request("POST", address, json={"url": picture_url}).prepare()


def upload(address: str, picture: bytes) -> requests.PreparedRequest:
    """Return a request that carries a JPEG in a form, as a browser sends it."""
    files = {"image": ("picture", picture, "image/jpeg")}
    return requests.Request("POST", address, files=files).prepare()


def put_load(
    request: requests.PreparedRequest, *, clients: int, seconds: float, pids: Sequence[int] = ()
) -> dict[str, float]:
    """Return what clients were answered, each of which asks again as soon as it has its answer.

    e.g. ``{"answers": 281, "failed": 0, "seconds": 3.0, "rate": 93.7, "p50_ms": 84.2, ...}``. A
    failed answer has a status of 400 or above, or never came. ``generator_cpu_s`` is wrk's own,
    ``peak_mb`` the most memory that the process trees of ``pids`` had meanwhile.

    Raises:
        Failed: wrk could not do it.
    """
    with NamedTemporaryFile() as body:
        body.write(cast("bytes", request.body))
        body.flush()
        command = ["wrk", "--threads", "1", "--connections", str(clients)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", f"{ANSWER_S}s"]
        command += ["--script", str(SCRIPT), str(request.url)]
        command += ["--", str(request.headers["Content-Type"]), body.name]
        before_s, seen_mb = _cpu_s_of_ended_children(), [0.0]
        with child("wrk", command, os.environ) as wrk:
            while not wrk.has_ended(within_s=MEMORY_PAUSE_S):
                seen_mb.append(memory_mb(pids))
    said = wrk.log.read_bytes()
    lines = [line for line in said.splitlines() if line.startswith(b"{")]
    if not lines:
        raise Failed(f"wrk failed: {said.decode(errors='replace')}")
    counted: dict[str, float] = msgspec.json.decode(lines[-1])
    spent_s = _cpu_s_of_ended_children() - before_s
    return {**counted, "generator_cpu_s": spent_s, "peak_mb": max(*seen_mb, memory_mb(pids))}


def _cpu_s_of_ended_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
