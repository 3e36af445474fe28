"""Cold start: from the start of a process to the first right answer.

The files were read before, so they come from memory, for everybody.
"""

import os
import sys
import time
from collections.abc import Iterator

import msgspec

from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Contender, standing
from tools.benchmarks.contenders.ours import v1
from tools.benchmarks.contenders.peers import original
from tools.benchmarks.parts.asking import Asker, category_of
from tools.benchmarks.places import PICTURES
from tools.benchmarks.plan import Plan
from tools.benchmarks.processes.child import Child, Failed
from tools.benchmarks.processes.picture_host import picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

PAUSE_S = 0.01
OURS, ORIGINAL, IMPORTS = "ours", "original", "import torch, torchvision"
# torchvision needs a hand where its operators do not load: imgserve/compile/torchvision_import.py.
IMPORT_CODE = "import imgserve.compile.torchvision_import"

# By model and precision.
Askers = dict[tuple[str, str], Asker]


class Row(msgspec.Struct, frozen=True):
    """One start.

    Attributes:
        what: ``ours``, with its precision where that is not fp32; ``original``; or the imports.
        model: empty for the imports.
    """

    round: int
    what: str
    model: str
    seconds: float


def measure(plan: Plan) -> Record:
    """Return how long every start took, interleaved, round by round."""
    record = begun("cold", plan)
    remarks = models.ensure(plan.models, plan.precisions)
    rows: list[Row] = []
    usual = pictures.usual()
    with picture_host(PICTURES) as host:
        askers = {
            (model, precision): Asker(host, usual, category_of(model, usual, precision))
            for model in plan.models
            for precision in models.available(model)
        }
        # The first of several rounds fills the page cache and is not counted.
        for number in range(-1 if plan.cold_rounds > 1 else 0, plan.cold_rounds):
            for row in _round(plan, askers, number):
                say(f"cold, round {number + 1}: {row.what} {row.model}: {row.seconds:.2f} s")
                rows += [row] if number >= 0 else []
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _round(plan: Plan, askers: Askers, number: int) -> Iterator[Row]:
    yield Row(number, IMPORTS, "", _imports_s())
    for model in plan.models:
        theirs = original(model, "eager")
        if not theirs.missing():
            yield from _start(number, ORIGINAL, askers[model, "fp32"], theirs, model)
        for precision in models.available(model):
            ours, asker = v1(model, precision), askers[model, precision]
            yield from _start(number, _label(precision), asker, ours, model)


def _start(number: int, what: str, asker: Asker, contender: Contender, model: str) -> Iterator[Row]:
    try:
        yield Row(number, what, model, start_s(asker, contender))
    except Failed as exc:
        say(f"cold: {what} {model}: {exc}")


def _label(precision: str) -> str:
    return OURS if precision == "fp32" else f"{OURS}, {precision}"


def start_s(asker: Asker, contender: Contender) -> float:
    """Return how long a contender takes to its first right answer, to an upload.

    Raises:
        Failed: it gives none, or a wrong one.
    """
    with standing(contender) as stands:
        asker.wait_for(stands, "upload", pause_s=PAUSE_S)
        return time.perf_counter() - stands.started_s


def _imports_s() -> float:
    command = (sys.executable, "-c", IMPORT_CODE)
    with Child("imports", command, os.environ) as child:
        while child.is_running():
            time.sleep(PAUSE_S)
        return time.perf_counter() - child.started_s
