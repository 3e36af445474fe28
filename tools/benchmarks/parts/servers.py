"""Servers side by side: all run, and in each round each is put under each load in its turn.

What is compared is a few seconds apart, since a shared machine's speed changes within a minute; an
idle server takes under a hundredth of a core. The limit, bare loops without HTTP, takes its turn
among them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

from tools.benchmarks import models
from tools.benchmarks.load import put_load
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.parts import limit
from tools.benchmarks.parts.limit import WHOLE, Arrangement
from tools.benchmarks.paths import SIZES, SMALL
from tools.benchmarks.picture_host import picture_host
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import say
from tools.benchmarks.records import Results, Row, Rows
from tools.benchmarks.servers import EAGER, PEERS, WAYS, Entrance, missing, running, servers
from tools.process import Failed

# The rows of loops without HTTP: the best arrangement, and one loop alone. They have no clients.
LIMIT, ONE_LOOP, NO_CLIENTS = "limit", "bare", 0
WARM_UP_CLIENTS, WARM_UP_S = 8, 1
# Who is asked for larger pictures, too.
AS_THEY_COME = ("v1", *(f"{peer}_{EAGER}" for peer in PEERS))
# How a server is asked, of how many megapixels, by how many clients and for how many seconds.
Load = tuple[str, float, int, float]


def measure(plan: Plan, remarks: list[str]) -> Rows:
    """Yield what every server did in every round."""
    best = limit.best_arrangement(Results(plan.out))
    remarks += [*models.ensure([MODEL], plan.precisions), f"limit: {best}"]
    known = servers()
    wanted = [name for name in known if not plan.servers or name in plan.servers]
    remarks += dict.fromkeys(filter(None, map(missing, wanted)))
    present = [known[name] for name in wanted if not missing(name)]
    category = models.expected_category(MODEL, AUTO)
    with picture_host() as host, ExitStack() as stack:
        there = [stack.enter_context(running(server, host, category)) for server in present]
        for entrance in chain.from_iterable(there):
            entrance.wait_until_ready(WAYS[0])
            put_load(entrance.request(WAYS[0]), clients=WARM_UP_CLIENTS, seconds=WARM_UP_S)
        for number in range(plan.rounds):
            for row in chain(_loop_rows(plan, best), _round(plan, there, number, remarks)):
                yield {"round": number, **row}


def _round(
    plan: Plan, there: list[list[Entrance]], number: int, remarks: list[str]
) -> Iterator[Row]:
    """Yield a row for each load and entrance; a server that fails is not asked any more."""
    for turn, load in enumerate(_loads(plan)):
        first = (number + turn) % max(1, len(there))  # nobody is always asked first
        for server in (*there[first:], *there[:first]):
            try:
                for entrance in server:
                    if load[1] == SMALL or entrance.program.name in AS_THEY_COME:
                        yield entrance.measure(*load)
            except Failed as exc:
                remarks.append(f"in round {number + 1}: {exc}".splitlines()[0])
                say(f"it is not asked any more: {exc}")
                there.remove(server)


def _loads(plan: Plan) -> Iterator[Load]:
    for load in plan.load_s.items():
        yield from ((way, SMALL, *load) for way in WAYS)
    for megapixels in SIZES[1:]:
        yield from ((WAYS[0], megapixels, *load) for load in plan.large_load_s.items())


def _loop_rows(plan: Plan, best: Arrangement) -> Iterator[Row]:
    for name, arrangement in ((LIMIT, best), (ONE_LOOP, limit.arrangements()[0])):
        with limit.loaded(arrangement) as run:
            done = run(plan.loop_s, WHOLE)
        each_ms, rate = 1000 * done.seconds / done.pictures, done.pictures / done.seconds
        asked = {"entrance": name, "way": "file", "megapixels": SMALL, "clients": NO_CLIENTS}
        took = {"seconds": done.seconds, "rate": rate, "p50_ms": each_ms, "p99_ms": each_ms}
        spent = {"server_cpu_s": done.cpu_s, "peak_mb": done.memory_mb}
        nothing = {"failed": 0, "generator_cpu_s": 0.0, "host_cpu_s": 0.0}
        yield {**asked, "answers": done.pictures, **took, **spent, **nothing}
