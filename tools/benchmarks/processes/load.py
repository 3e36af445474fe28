"""Ask a server for a while with wrk, which takes little of the machine itself."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.benchmarks.processes.child import Failed

SCRIPT = Path(__file__).with_name("load.lua")
# Longer than anybody's answer takes; wrk gives up by itself after 2 s.
ANSWER_S = 60
# wrk counts what comes until its time is over and drops the rest; it needs a moment to end.
GRACE_S = 30


class Answers(msgspec.Struct, frozen=True):
    """What wrk counted.

    Attributes:
        answers: of any status.
        not_ok: those of status 400 and above.
        broken: connections that failed, or answers that never came.
        generator_cpu_s: CPU seconds of wrk itself.
    """

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    mean_ms: float
    not_ok: int
    broken: int
    generator_cpu_s: float = 0.0


@dataclass(frozen=True)
class Question:
    """One request: where it goes, and its body."""

    url: str
    media_type: str
    body: bytes


def ask(question: Question, *, clients: int, seconds: float) -> Answers:
    """Return what came back from so many clients, each asking again once it has its answer.

    Raises:
        Failed: wrk could not do it.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(question.body)
        body.flush()
        return _measured(question, Path(body.name), clients, seconds)


def _measured(question: Question, body: Path, clients: int, seconds: float) -> Answers:
    command = ["wrk", "--threads", "1", "--connections", str(clients)]
    command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", f"{ANSWER_S}s"]
    command += ["--script", str(SCRIPT), question.url, "--", question.media_type, str(body)]
    before_s = cpu_s_of_ended()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said, complained = process.communicate(timeout=seconds + ANSWER_S + GRACE_S)
    finally:
        process.kill()
        process.wait()
    lines = [line for line in said.splitlines() if line.startswith(b"{")]
    if process.returncode or not lines:
        raise Failed(f"wrk failed: {(complained or said).decode(errors='replace')}")
    counted = msgspec.json.decode(lines[-1], type=Answers)
    return msgspec.structs.replace(counted, generator_cpu_s=cpu_s_of_ended() - before_s)


def cpu_s_of_ended() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
