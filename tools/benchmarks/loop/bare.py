"""Bare loops in processes of their own, started and asked from here."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from tools.benchmarks.loop.arrangement import Arrangement
from tools.benchmarks.loop.lap import WHOLE, Job, Lap
from tools.benchmarks.processes.child import Child


class Loops:
    """Running loops of one arrangement."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children

    def run(self, seconds: float, work: str = WHOLE) -> Lap:
        """Return what all processes did together in so many seconds."""
        with ThreadPoolExecutor(len(self._children)) as pool:
            said = pool.map(lambda child: child.ask(f"{work} {seconds:g}"), self._children)
            laps = [msgspec.json.decode(line, type=Lap) for line in said]
        return Lap(
            pictures=sum(lap.pictures for lap in laps),
            seconds=max(lap.seconds for lap in laps),
            cpu_s=sum(lap.cpu_s for lap in laps),
            memory_mb=sum(lap.memory_mb for lap in laps),
            category=" and ".join(sorted({lap.category for lap in laps})),
        )


@contextmanager
def loops(
    arrangement: Arrangement,
    model: str,
    picture: Path,
    *,
    precision: str = "fp32",
) -> Iterator[Loops]:
    """Run loops that are warm and wait to be asked."""
    job = Job(
        model,
        precision,
        str(picture),
        arrangement.streams,
        arrangement.threads,
        arrangement.loops,
    )
    command = (sys.executable, "-m", "tools.benchmarks.loop", msgspec.json.encode(job).decode())
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(f"loop-{number}", command, os.environ, talks=True))
            for number in range(arrangement.processes)
        ]
        for child in children:
            child.ask()
        yield Loops(children)
