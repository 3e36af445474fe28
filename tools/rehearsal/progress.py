"""The steps of a rehearsal: each timed, each with a log, the first failure ends it."""

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
    """One step.

    Attributes:
        log: what the programs it ran have said.
        notes: what it found, in words.
        failure: why it failed; empty where it did not.
    """

    name: str
    log: Path
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    def note(self, text: str) -> None:
        """Keep a finding, and show it when the step is over."""
        self.notes.append(text)


class Progress:
    """The steps so far."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step and show how it ends.

        Raises:
            StepFailed: it failed; all there is to say has been shown.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        step = Step(name, self._logs / f"{len(self.steps) + 1:02}-{name.replace(' ', '-')}.log")
        self.steps.append(step)
        say(f"{name} ... ", end="")
        began = time.monotonic()
        try:
            yield step
        except (StepFailed, HostFailed, OSError, subprocess.SubprocessError) as exc:
            _end(step, began, str(exc))
            _show_log(step)
            raise StepFailed(f"{name}: {exc}") from exc
        except BaseException as exc:  # Ctrl-C, or a fault of ours, whose traceback comes
            _end(step, began, type(exc).__name__)
            raise
        _end(step, began)


def say(text: str, end: str = "\n") -> None:
    """Show a line to the person who waits."""
    print(text, end=end, file=sys.stderr, flush=True)


def _end(step: Step, began: float, failure: str = "") -> None:
    step.seconds = time.monotonic() - began
    step.failure = failure
    say(f"{step.seconds:.1f} s{', FAILED' if failure else ''}")
    for line in [*step.notes, *failure.splitlines()]:
        say(f"    {line}")


def _show_log(step: Step) -> None:
    if step.log.exists():
        say(f"The end of {step.log}:")
        for line in step.log.read_text("utf-8", "replace").splitlines()[-SHOWN_LINES:]:
            say(f"  | {line}")
