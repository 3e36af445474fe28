"""The steps of a rehearsal: each timed, each with a log."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.rehearsal.host import HostFailed

SHOWN_LINES = 40


class StepFailed(Exception):
    """What a step is there to show did not happen; the message says what did."""


@dataclass
class Step:
    name: str
    log: Path  # what the programs it ran have said
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)  # what it found, shown when it is over

    def note(self, text: str) -> None:
        self.notes.append(text)


class Progress:
    """The steps so far; threads may share them."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step and show how it ends; StepFailed, with all said, where it fails."""
        self._logs.mkdir(parents=True, exist_ok=True)
        step = Step(name, self._logs / f"{name.replace(' ', '-')}.log")
        self.steps.append(step)
        say(f"{name} ...")
        began = time.monotonic()
        try:
            yield step
        except (StepFailed, HostFailed, OSError, subprocess.SubprocessError) as exc:
            shown = f"The end of {step.log}:\n{_end_of(step.log)}" if step.log.exists() else ""
            say(f"{name}: FAILED: {exc}\n{shown}")
            raise StepFailed(f"{name}: {exc}") from exc
        step.seconds = time.monotonic() - began
        say("\n    ".join([f"{name}: {step.seconds:.1f} s", *step.notes]))


def say(text: str) -> None:
    """Show a text to the person who waits."""
    sys.stderr.write(f"{text}\n")  # in one piece: several threads write
    sys.stderr.flush()


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-SHOWN_LINES:]
    return "\n".join(f"  | {line}" for line in lines)
