"""Put load on a server with wrk, which itself takes little of the machine."""

import os
import secrets
import subprocess
from dataclasses import dataclass
from tempfile import NamedTemporaryFile

import msgspec

from tools.benchmarks.paths import HERE
from tools.benchmarks.process import Failed

SCRIPT = HERE / "load.lua"
# Longer than any answer takes; wrk's own limit is 2 s.
ANSWER_S = 60
# wrk drops what has not been answered when its time is over; it needs a moment to end.
GRACE_S = 30


@dataclass(frozen=True)
class Request:
    """One request, sent again and again."""

    url: str
    media_type: str
    body: bytes


def by_url(address: str, picture_url: str) -> Request:
    """Return a request that names a picture's address."""
    return Request(address, "application/json", msgspec.json.encode({"url": picture_url}))


def upload(address: str, picture: bytes) -> Request:
    """Return a request that carries a JPEG in a form, as a browser sends it."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return Request(address, f"multipart/form-data; boundary={boundary}", body)


def put_load(request: Request, *, clients: int, seconds: float) -> dict[str, float]:
    """Return what clients were answered, each of which asks again as soon as it has its answer.

    e.g. ``{"answers": 281, "failed": 0, "seconds": 3.0, "rate": 93.7, "p50_ms": 84.2, ...}``. A
    failed answer has a status of 400 or above, or never came. ``generator_cpu_s`` is wrk's own.

    Raises:
        Failed: wrk could not do it.
    """
    with NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        command = ["wrk", "--threads", "1", "--connections", str(clients)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", f"{ANSWER_S}s"]
        command += ["--script", str(SCRIPT), request.url, "--", request.media_type, body.name]
        before_s = _cpu_s_of_ended_children()
        limit_s = seconds + ANSWER_S + GRACE_S
        done = subprocess.run(command, capture_output=True, check=False, timeout=limit_s)
    lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
    if done.returncode or not lines:
        raise Failed(f"wrk failed: {(done.stderr or done.stdout).decode(errors='replace')}")
    counted: dict[str, float] = msgspec.json.decode(lines[-1])
    return {**counted, "generator_cpu_s": _cpu_s_of_ended_children() - before_s}


def _cpu_s_of_ended_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
