"""Several models at one address: loaded for each request, kept in one process, or one in each.

Clients ask for the models in turn, so that a server with room for one must load again and again. In
each round every strategy is started, asked and stopped, in another order; every answer is checked.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Contender, Standing, standing, upload
from tools.benchmarks.contenders.strategies import strategies
from tools.benchmarks.parts.asking import category_of
from tools.benchmarks.plan import Plan
from tools.benchmarks.processes import tree
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.processes.picture_host import accepts
from tools.benchmarks.processes.turns import Turn, ask_in_turn
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

# Each client has an answer at least, and each model so many.
TURNS = 2
# A backend answers while the second copy of its model is still loading.
SETTLE_S = 4
# In the logs of all of them; see imgserve/models/loading_model.py.
LOADED = re.compile(rb"model \w+ loaded")
REMARKS = (
    "pictures are uploaded",
    "loads are counted in the logs, while the clients ask",
    "one per container: all of them share this machine's cores",
)


class Row(msgspec.Struct, frozen=True):
    """One strategy with some models, asked by so many clients, in one round.

    Attributes:
        size: of the models, ``small`` or ``large``.
        failed: answers that were not 200 or not right, and connections that broke.
        rate: answers a second.
        peak_mb: the most memory that all of the strategy's processes had together (PSS).
        loads: how often a model was loaded meanwhile; -1 where that is not known.
    """

    round: int
    strategy: str
    models: list[str]
    size: str
    clients: int
    answers: int
    failed: int
    rate: float
    p50_ms: float
    p99_ms: float
    peak_mb: float
    loads: int


@dataclass(frozen=True)
class Size:
    """Models of one size, the class that each of them finds, and how long they are asked."""

    name: str
    categories: Mapping[str, str]
    picture: Path
    load_s: Mapping[int, float]


def measure(plan: Plan) -> Record:
    """Return what every strategy did in every round."""
    record = begun("strategies", plan)
    remarks, rows, sizes = [*REMARKS], [], []
    for name, chosen in plan.strategy_models.items():
        absent = models.ensure(chosen)
        remarks += absent
        sizes += [] if absent else [_size(plan, name, chosen)]
    for number in range(plan.strategy_rounds):
        for size in sizes:
            for row in _round(size, number, remarks):
                rows.append(msgspec.structs.replace(row, round=number))
                _tell(rows[-1])
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _size(plan: Plan, name: str, chosen: tuple[str, ...]) -> Size:
    usual = pictures.usual()
    categories = {model: category_of(model, usual) for model in chosen}
    return Size(name, categories, usual, plan.strategy_load_s[name])


def _round(size: Size, number: int, remarks: list[str]) -> Iterator[Row]:
    part = strategies([*size.categories])
    start = number % len(part)
    for contender in (*part[start:], *part[:start]):
        try:
            yield from asked(contender, size)
        except Failed as exc:
            remarks.append(f"{contender.title}, {size.name}: {exc}".splitlines()[0])
            say(f"{contender.title} has no more rows in this round: {exc}")


def asked(contender: Contender, size: Size) -> Iterator[Row]:
    """Yield a row for each number of clients, of a fresh start.

    Raises:
        Failed: it does not start, or answers wrongly.
    """
    with standing(contender) as stands:
        for name, child in stands.children.items():
            child.wait_until(lambda: accepts(stands.ports[name]))  # noqa: B023
        _wait_for_each(stands, size)
        time.sleep(SETTLE_S)
        for clients, seconds in size.load_s.items():
            yield _row(stands, size, clients, seconds)


def _turns(stands: Standing, size: Size) -> list[Turn]:
    """Return a question for each model."""
    data, kind = size.picture.read_bytes(), pictures.media_type(size.picture)
    return [
        Turn(upload(stands.address(each, "upload"), data, kind), size.categories[each.name])
        for each in stands.contender.entrances
    ]


def _wait_for_each(stands: Standing, size: Size) -> None:
    """Wait until each model has given its right answer; errors as ``asked``."""
    first, *_ = stands.children.values()
    for turn in _turns(stands, size):
        first.wait_until(lambda: stands.answers_as(turn.question, turn.category))  # noqa: B023


def _row(stands: Standing, size: Size, clients: int, seconds: float) -> Row:
    turns, before = _turns(stands, size), _loads(stands)
    least = max(clients, TURNS * len(turns))
    with tree.Peak(stands.pids) as peak:
        done = ask_in_turn(turns, clients=clients, seconds=seconds, least=least)
    return Row(
        round=0,
        strategy=stands.contender.title,
        models=[*size.categories],
        size=size.name,
        clients=clients,
        answers=len(done.took_ms),
        failed=done.failed,
        rate=done.rate,
        p50_ms=done.percentile_ms(50),
        p99_ms=done.percentile_ms(99),
        peak_mb=peak.mb,
        loads=_loads(stands) - before,
    )


def _loads(stands: Standing) -> int:
    logs = [child.log.read_bytes() for child in stands.children.values()]
    return sum(len(LOADED.findall(log)) for log in logs)


def _tell(row: Row) -> None:
    say(
        f"strategies, round {row.round + 1}: {row.strategy}, {row.size}, {row.clients} clients: "
        f"{row.rate:.1f} a second, p50 {row.p50_ms:.0f} ms, p99 {row.p99_ms:.0f} ms, "
        f"{row.peak_mb:.0f} MB, {row.loads} loads of {row.answers}, {row.failed} failed"
    )
