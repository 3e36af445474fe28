"""The limit: what this engine can do on all cores without HTTP, and what the engine does alone.

All arrangements stay loaded and wait, while one after the other runs.
"""

from contextlib import ExitStack

import msgspec

from imgserve.machine import cpu_quota
from tools.benchmarks import models, pictures
from tools.benchmarks.loop.arrangement import Arrangement, arrangements
from tools.benchmarks.loop.bare import Loops, loops
from tools.benchmarks.loop.lap import ENGINE, WHOLE
from tools.benchmarks.plan import MODEL, Plan
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

WARM_UP_S = 0.3


class Row(msgspec.Struct, frozen=True):
    """One arrangement in one round.

    Attributes:
        work: ``whole``, or ``engine`` for the engine alone.
        processes, streams, threads, loops: see ``Arrangement``.
        rate: pictures a second, of all together.
    """

    round: int
    work: str
    precision: str
    processes: int
    streams: int
    threads: int
    loops: int
    rate: float
    cpu_s_each: float
    memory_mb: float
    category: str


def measure(plan: Plan) -> Record:
    """Return the rates of all arrangements, interleaved, round by round."""
    record = begun("limit", plan)
    remarks = models.ensure([MODEL], plan.precisions)
    with ExitStack() as stack:
        waiting = {
            (arrangement, precision): stack.enter_context(
                loops(arrangement, MODEL, pictures.usual(), precision=precision)
            )
            for arrangement in arrangements(cpu_quota())[: plan.arrangements]
            for precision in models.available(MODEL)
        }
        rows = [
            _row((number, work, precision), arrangement, running, plan.loop_s)
            for number in range(plan.rounds)
            for (arrangement, precision), running in waiting.items()
            for work in (WHOLE, ENGINE)
        ]
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _row(key: tuple[int, str, str], ways: Arrangement, running: Loops, seconds: float) -> Row:
    number, work, precision = key
    running.run(WARM_UP_S, work)
    lap = running.run(seconds, work)
    row = Row(
        round=number,
        work=work,
        precision=precision,
        processes=ways.processes,
        streams=ways.streams,
        threads=ways.threads,
        loops=ways.loops,
        rate=lap.pictures / lap.seconds,
        cpu_s_each=lap.cpu_s / max(1, lap.pictures),
        memory_mb=lap.memory_mb,
        category=lap.category,
    )
    say(f"limit, round {number + 1}: {work}, {precision}, {ways.name}: {row.rate:.1f} a second")
    return row
