"""The steps of a build: each begins when those it waits for are over."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.rehearsal.answers import Json
from tools.rehearsal.builds import process
from tools.rehearsal.builds.checks import AT_ONCE
from tools.rehearsal.builds.command import StepImpossible, command_of
from tools.rehearsal.builds.durations import seconds
from tools.rehearsal.builds.log import BuildLog
from tools.rehearsal.builds.machine import Machine
from tools.rehearsal.builds.record import Record


@dataclass
class Halt:
    """Why a build shall not go on; the first reason stays."""

    status: str = ""
    detail: str = ""
    failure: str = ""
    event: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, status: str, detail: str, failure: str = "") -> None:
        """Stop the build; does nothing when it is stopped already."""
        with self._lock:
            if not self.event.is_set():
                self.status, self.detail, self.failure = status, detail, failure
                self.event.set()


@dataclass(frozen=True)
class Site:
    """What the steps of one build share."""

    build: str
    machine: Machine
    log: BuildLog
    record: Record
    halt: Halt
    deadline: float  # on the monotonic clock

    @property
    def workspace(self) -> Path:
        """Return the folder that every step works in."""
        return self.machine.build_folder(self.build) / "workspace"


def waits_for(steps: list[Json]) -> list[list[int]]:
    """Return for each step the numbers of those it waits for: all earlier ones, unless it says."""
    numbers = {step["id"]: number for number, step in enumerate(steps) if step.get("id")}
    return [
        [numbers[name] for name in step["waitFor"] if name != AT_ONCE]
        if step.get("waitFor")
        else list(range(number))
        for number, step in enumerate(steps)
    ]


def run_steps(steps: list[Json], site: Site) -> None:
    """Run all steps, side by side where they may; a failure halts the site."""
    over = [threading.Event() for _ in steps]

    def one(number: int, before: list[int]) -> None:
        try:
            for earlier in before:
                over[earlier].wait()
            if not site.halt.event.is_set():
                _Step(number, steps[number], site).run()
        finally:
            over[number].set()

    threads = [
        threading.Thread(target=one, args=(number, before), daemon=True)
        for number, before in enumerate(waits_for(steps))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class _Step:
    number: int
    step: Json
    site: Site

    def run(self) -> None:
        self.site.log.write(f"Starting {self._name}")
        self.site.record.step_began(self.number)
        try:
            end, code = self._process()
        except (StepImpossible, OSError) as exc:
            self._say(str(exc))
            self._fail("FAILURE", f"failed: {exc}")
            return
        self._ended(end, code)
        self.site.log.write(f"Finished {self._name}")

    def _process(self) -> tuple[process.End, int]:
        machine, build = self.site.machine, self.site.build
        script = machine.build_folder(build) / f"step-{self.number}"
        environ = machine.step_environ(build)
        command = command_of(self.step, self.site.workspace, environ, script)
        self._say(f"Already have image (with digest): {self.step['name']}")
        return process.run(command, self._say, self.site.halt.event, self._deadline())

    def _ended(self, end: process.End, code: int) -> None:
        record, number = self.site.record, self.number
        if end is process.End.STOPPED:
            record.step_ended(number, "CANCELLED")
        elif end is process.End.TIME:
            self._out_of_time()
        elif code == 0:
            record.step_ended(number, "SUCCESS")
        elif self.step.get("allowFailure") or code in self.step.get("allowExitCodes", []):
            record.step_ended(number, "FAILURE", code)
        else:
            self._fail("FAILURE", f"failed: step exited with non-zero status: {code}", code)

    def _out_of_time(self) -> None:
        if time.monotonic() > self.site.deadline:
            self.site.record.step_ended(self.number, "CANCELLED")
            self.site.halt.order("TIMEOUT", "build timed out")
        else:
            self._fail("TIMEOUT", f"timed out after {self.step['timeout']}")

    def _fail(self, status: str, what: str, code: int | None = None) -> None:
        detail = f'build step {self.number} "{self.step["name"]}" {what}'
        self.site.record.step_ended(self.number, status, code)
        self.site.halt.order("FAILURE", detail, "USER_BUILD_STEP")

    def _deadline(self) -> float:
        own = seconds(self.step["timeout"]) if self.step.get("timeout") else float("inf")
        return min(self.site.deadline, time.monotonic() + own)

    def _say(self, line: str) -> None:
        self.site.log.write(f"{self._name}: {line}")

    @property
    def _name(self) -> str:
        name = self.step.get("id")
        return f'Step #{self.number} - "{name}"' if name else f"Step #{self.number}"
