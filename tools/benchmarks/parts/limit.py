"""The limit: what this engine does on all cores without HTTP, and what an inference alone takes.

All arrangements stay loaded and wait while one after the other runs.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.loop import ENGINE, WHOLE, Job, Throughput, loop, repeat
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import say
from tools.benchmarks.records import Record, Results, begun

WARM_UP_S = 0.3


class Arrangement(NamedTuple):
    """One way to share out the cores.

    Attributes:
        processes: each with a model of its own.
        streams: inferences at once in each process.
        threads: that infer, in each process.
        loops: threads of each process that read, decode, resize and wait for the inference.
    """

    processes: int
    streams: int
    threads: int
    loops: int

    def __str__(self) -> str:
        processes = f"{self.processes} process{'es' * (self.processes > 1)}"
        streams, threads = _count(self.streams, "stream"), self.threads // self.streams
        return (
            f"{processes}, {streams} of {_count(threads, 'thread')}, {_count(self.loops, 'loop')}"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"


def arrangements() -> tuple[Arrangement, ...]:
    """Return the ways that are tried; the first is one loop that has all cores to itself.

    Several streams in one process were tried and are slower than several processes: NOTES.md.
    """
    cores = cpu_quota()
    one_process = [Arrangement(1, 1, cores, loops) for loops in (1, cores)]
    many_processes = [Arrangement(cores, 1, 1, loops) for loops in (1, 2)]
    return (*one_process, *many_processes)


@contextmanager
def loops(arrangement: Arrangement, precision: str = AUTO) -> Iterator[list[ProcessPoolExecutor]]:
    """Run the processes of an arrangement, loaded."""
    job = Job(MODEL, precision, arrangement.threads, arrangement.loops)
    with ExitStack() as stack:
        yield [stack.enter_context(loop(job)) for _ in range(arrangement.processes)]


def run(processes: list[ProcessPoolExecutor], seconds: float, work: str = WHOLE) -> Throughput:
    """Return what all processes did together, after a short warm-up."""
    for duration_s in (WARM_UP_S, seconds):
        asked = [process.submit(repeat, work, duration_s) for process in processes]
        done = [one.result() for one in asked]
    return Throughput(
        pictures=sum(one.pictures for one in done),
        seconds=max(one.seconds for one in done),
        cpu_s=sum(one.cpu_s for one in done),
        memory_mb=sum(one.memory_mb for one in done),
    )


def measure(plan: Plan) -> Record:
    """Return the rates of all arrangements, interleaved, round by round."""
    record = begun("limit", plan)
    record.remarks += models.ensure([MODEL], plan.precisions)
    with ExitStack() as stack:
        loaded = {
            (arrangement, precision): stack.enter_context(loops(arrangement, precision))
            for arrangement in arrangements()
            for precision in models.available(MODEL)
        }
        for number in range(plan.rounds):
            for (arrangement, precision), processes in loaded.items():
                for work in (WHOLE, ENGINE):
                    one = run(processes, plan.loop_s, work)
                    rate = one.pictures / one.seconds
                    row = {"round": number, "work": work, "precision": precision, "rate": rate}
                    spent = {"cpu_s_each": one.cpu_s / one.pictures, "memory_mb": one.memory_mb}
                    record.rows.append({**row, **arrangement._asdict(), **spent})
                    said = f"{work}, {precision}, {arrangement}: {rate:.1f} a second"
                    say(f"limit, round {number + 1}: {said}")
    return record


def best_arrangement(results: Results) -> Arrangement:
    """Return the arrangement with the highest median rate; a usual one where none was measured."""
    rows = results["limit"]
    rows = rows[(rows.work == WHOLE) & (rows.precision == AUTO) & (rows.streams == 1)]
    if rows.empty:
        return arrangements()[-2]
    rates = rows.groupby([*Arrangement._fields]).rate.median()
    return Arrangement(*map(int, rates.idxmax()))
