"""Servers side by side: in each round every one is started, checked, asked, checked and stopped.

Only one runs at a time: what waits idly takes a little too. The limit, bare loops without HTTP,
takes its turn among them, so that all are measured in the same state of the machine.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from imgserve.machine import cpu_quota
from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Contender, standing
from tools.benchmarks.contenders.listed import contenders
from tools.benchmarks.loop.arrangement import Arrangement, arrangements
from tools.benchmarks.loop.bare import loops
from tools.benchmarks.parts.asking import Asker, Row, category_of
from tools.benchmarks.parts.limit import WARM_UP_S
from tools.benchmarks.places import PICTURES
from tools.benchmarks.plan import MODEL, Plan
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.processes.picture_host import picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

# Names of rows; all clients a loop has are its own threads, which is said as none.
LIMIT, BARE, NO_CLIENTS = "limit", "bare", 0


def measure(plan: Plan, best: Arrangement) -> Record:
    """Return what every contender did in every round.

    Args:
        plan: how much is measured.
        best: how the limit shares out the cores, as the part ``limit`` found.
    """
    record = begun("servers", plan)
    remarks = models.ensure([MODEL], plan.precisions)
    picture = pictures.usual()
    part, absent = _taking_part(plan)
    rows: list[Row] = []
    failures: list[str] = []
    with picture_host(PICTURES) as host:
        asker = Asker(host, picture, category_of(MODEL, picture))
        for number in range(plan.rounds):
            for row in _round(plan, asker, _turned(part, number), best, failures):
                rows.append(msgspec.structs.replace(row, round=number))
                _tell(rows[-1])
    return msgspec.structs.replace(
        record, rows=rows, remarks=[*remarks, *absent, f"limit: {best.name}", *failures]
    )


def _taking_part(plan: Plan) -> tuple[list[Contender], list[str]]:
    """Return who takes part, and a sentence for each that cannot."""
    wanted = [each for each in contenders() if not plan.contenders or each.name in plan.contenders]
    absent = [reason for each in wanted if (reason := each.missing())]
    for reason in dict.fromkeys(absent):
        say(reason)
    return [each for each in wanted if not each.missing()], list(dict.fromkeys(absent))


def _turned(part: list[Contender], number: int) -> list[Contender]:
    """Return the contenders in another order for each round: the machine drifts."""
    start = number * 3 % len(part)
    return [*part[start:], *part[:start]]


def _round(
    plan: Plan, asker: Asker, part: list[Contender], best: Arrangement, failures: list[str]
) -> Iterator[Row]:
    yield from _bare(plan, asker.picture, best)
    for contender in part:
        try:
            yield from asked(plan, asker, contender)
        except Failed as exc:
            failures.append(f"{contender.title} has no more rows in a round: {exc}".splitlines()[0])
            say(f"{contender.title} has no more rows in this round: {exc}")


def asked(plan: Plan, asker: Asker, contender: Contender) -> Iterator[Row]:
    """Yield a row for each way, number of clients and entrance, of a fresh start.

    Raises:
        Failed: it does not start, or answers wrongly.
    """
    with standing(contender) as stands:
        asker.wait_for(stands, plan.ways[0])
        asker.warm_up(stands, plan.ways[0])
        for way in plan.ways:
            for clients, seconds in plan.load_s.items():
                for entrance in contender.entrances:
                    yield asker.load(stands, entrance, way, clients, seconds)


def _bare(plan: Plan, picture: Path, best: Arrangement) -> Iterator[Row]:
    """Yield the limit, and the time per picture of one loop alone."""
    for name, arrangement in ((LIMIT, best), (BARE, arrangements(cpu_quota())[0])):
        with loops(arrangement, MODEL, picture) as running:
            running.run(WARM_UP_S)
            lap = running.run(plan.loop_s)
        each_ms = 1000 * lap.seconds / max(1, lap.pictures)
        yield Row(
            round=0,
            entrance=name,
            way="file",
            clients=NO_CLIENTS,
            answers=lap.pictures,
            failed=0,
            seconds=lap.seconds,
            rate=lap.pictures / lap.seconds,
            p50_ms=each_ms,
            p99_ms=each_ms,
            server_cpu_s=lap.cpu_s,
            generator_cpu_s=0,
            host_cpu_s=0,
            peak_mb=lap.memory_mb,
        )


def _tell(row: Row) -> None:
    failed = f", {row.failed} FAILED" if row.failed else ""
    say(
        f"servers, round {row.round + 1}: {row.entrance}, {row.way}, {row.clients} clients: "
        f"{row.rate:.1f} a second, p50 {row.p50_ms:.1f} ms, p99 {row.p99_ms:.1f} ms, "
        f"{row.peak_mb:.0f} MB{failed}"
    )
