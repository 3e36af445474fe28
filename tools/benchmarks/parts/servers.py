"""Servers side by side: all run, and in each round each is put under each load in its turn.

What is compared is a few seconds apart, since a shared machine's speed changes within a minute; an
idle server takes under a hundredth of a core. The limit, bare loops without HTTP, takes its turn
among them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from tools.benchmarks import models
from tools.benchmarks.load import put_load
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.parts.limit import Arrangement, arrangements, loops, run
from tools.benchmarks.paths import SIZES, SMALL
from tools.benchmarks.picture_host import picture_host
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import Failed, say
from tools.benchmarks.records import Record, begun
from tools.benchmarks.servers import EAGER, PEERS, WAYS, Running, running, servers

Row = dict[str, Any]  # see records.COLUMNS

# The rows of loops without HTTP: the best arrangement, and one loop alone. They have no clients.
LIMIT, ONE_LOOP, NO_CLIENTS = "limit", "bare", 0
WARM_UP_CLIENTS, WARM_UP_S = 8, 1
# Who is asked for larger pictures, too.
AS_THEY_COME = ("v1", *(f"{peer}_{EAGER}" for peer in PEERS))


def measure(plan: Plan, best: Arrangement) -> Record:
    """Return what every server did in every round.

    Args:
        plan: how much is measured.
        best: how the limit shares out the cores.
    """
    record = begun("servers", plan)
    record.remarks += [*models.ensure([MODEL], plan.precisions), f"limit: {best}"]
    wanted = [one for one in servers() if not plan.servers or one.name in plan.servers]
    record.remarks += dict.fromkeys(filter(None, (server.missing() for server in wanted)))
    present = [server for server in wanted if not server.missing()]
    category = models.expected_category(MODEL, AUTO)
    with picture_host() as host, ExitStack() as stack:
        there = [stack.enter_context(running(server, host, category)) for server in present]
        for server in there:
            _warm_up(server)
        for number in range(plan.rounds):
            record.rows += [{"round": number, **row} for row in _loop_rows(plan, best)]
            for turn, case in enumerate(_cases(plan)):
                first = (number + turn) % max(1, len(there))  # nobody is always asked first
                for server in (*there[first:], *there[:first]):
                    try:
                        rows = _server_rows(server, case)
                        record.rows += [{"round": number, **row} for row in rows]
                    except Failed as exc:
                        record.remarks.append(f"in round {number + 1}: {exc}".splitlines()[0])
                        say(f"it is not asked any more: {exc}")
                        there.remove(server)
    return record


class Case(NamedTuple):
    """A load."""

    way: str
    megapixels: float
    clients: int
    seconds: float


def _cases(plan: Plan) -> list[Case]:
    usual = [
        Case(way, SMALL, clients, seconds)
        for clients, seconds in plan.load_s.items()
        for way in WAYS
    ]
    return usual + [
        Case(WAYS[0], megapixels, clients, seconds)
        for megapixels in SIZES[1:]
        for clients, seconds in plan.large_load_s.items()
    ]


def _warm_up(server: Running) -> None:
    server.wait_until_ready(WAYS[0])
    for endpoint in server.server.endpoints:
        put_load(server.request(endpoint, WAYS[0]), clients=WARM_UP_CLIENTS, seconds=WARM_UP_S)


def _server_rows(server: Running, case: Case) -> list[Row]:
    """Return a row for each endpoint of a server."""
    if case.megapixels != SMALL and server.server.name not in AS_THEY_COME:
        return []
    return [
        _announced(server.measure(endpoint, case.way, case.clients, case.seconds, case.megapixels))
        for endpoint in server.server.endpoints
    ]


def _loop_rows(plan: Plan, best: Arrangement) -> Iterator[Row]:
    for name, arrangement in ((LIMIT, best), (ONE_LOOP, arrangements()[0])):
        with loops(arrangement) as processes:
            done = run(processes, plan.loop_s)
        each_ms = 1000 * done.seconds / done.pictures
        rate = done.pictures / done.seconds
        asked = {
            "entrance": name,
            "way": "file",
            "megapixels": SMALL,
            "clients": NO_CLIENTS,
            "answers": done.pictures,
        }
        took = {"seconds": done.seconds, "rate": rate, "p50_ms": each_ms, "p99_ms": each_ms}
        spent = {"server_cpu_s": done.cpu_s, "peak_mb": done.memory_mb}
        nothing = {"failed": 0, "generator_cpu_s": 0.0, "host_cpu_s": 0.0}
        yield _announced({**asked, **took, **spent, **nothing})


def _announced(row: Row) -> Row:
    failed = f", {row['failed']} FAILED" if row["failed"] else ""
    say(
        f"servers: {row['entrance']}, {row['way']}, {row['megapixels']} MP, "
        f"{row['clients']} clients: "
        f"{row['rate']:.1f} a second, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms, "
        f"{row['peak_mb']:.0f} MB{failed}"
    )
    return row
