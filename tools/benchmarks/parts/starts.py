"""How a model comes to a container: the time from its start to the first right answer.

The network is this machine's own, which takes no time: ``megabytes`` says what would have to come.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.starting import COMPILED, STARTS, Place, start
from tools.benchmarks.parts.asking import Asker, category_of
from tools.benchmarks.parts.cold import start_s
from tools.benchmarks.places import SCRATCH, WEIGHTS
from tools.benchmarks.plan import EMBEDDED, Plan
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.processes.picture_host import picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

# It takes half a minute, and ten times as long as the others: more rounds would say no more.
ONCE = (COMPILED,)
REMARKS = (
    f"{', '.join(ONCE)}: in the first round only",
    f"the weights of {', '.join(EMBEDDED)} are Python packages, which no way downloads",
    "the others' weights are random and have no known hash, which torch.hub and our service ask "
    "for: a step before the server fetches them, and where they are compiled compiles them",
)


class Row(msgspec.Struct, frozen=True):
    """One start.

    Attributes:
        way: in which the model comes.
        seconds: from the start of the process to its first right answer.
        megabytes: that came over the network.
    """

    round: int
    way: str
    model: str
    seconds: float
    megabytes: float


def measure(plan: Plan) -> Record:
    """Return how long every start took, interleaved, round by round."""
    record = begun("starts", plan)
    remarks = [*REMARKS, *models.ensure(plan.start_models)]
    usual = pictures.usual()
    rows: list[Row] = []
    ready = [model for model in plan.start_models if "fp32" in models.available(model)]
    with picture_host(WEIGHTS) as host:
        askers = {model: Asker(host, usual, category_of(model, usual)) for model in ready}
        for number in range(plan.start_rounds):
            for model, asker in askers.items():
                for way in _ways(plan, number):
                    rows += _rows(number, way, model, asker, remarks)
    return msgspec.structs.replace(record, rows=rows, remarks=[*dict.fromkeys(remarks)])


def _ways(plan: Plan, number: int) -> list[str]:
    return [way for way in plan.start_ways or STARTS if number == 0 or way not in ONCE]


def _rows(number: int, way: str, model: str, asker: Asker, remarks: list[str]) -> list[Row]:
    """Return a row, or none and say why."""
    try:
        row = _row(number, way, model, asker)
    except Failed as exc:
        remarks.append(f"{model}, {way}: {exc}".splitlines()[0])
        say(f"starts: {model}, {way}: {exc}")
        return []
    say(f"starts, round {number + 1}: {model}, {way}: {row.seconds:.2f} s")
    return [row]


def _row(number: int, way: str, model: str, asker: Asker) -> Row:
    with TemporaryDirectory(dir=SCRATCH, prefix="empty-") as folder:
        chosen = start(way, model, Place(Path(folder), asker.host.port))
        if reason := chosen.contender.missing():
            raise Failed(reason)
        return Row(number, way, model, start_s(asker, chosen.contender), chosen.megabytes)
