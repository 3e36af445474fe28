"""Cold start: from the start of a process to its first right answer.

The files have been read before, so they come from memory, for every server.
"""

import os
import sys
import time
from collections.abc import Iterator

from tools.benchmarks import models
from tools.benchmarks.models import AUTO
from tools.benchmarks.picture_host import PictureHost, picture_host
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import Child, Failed, say
from tools.benchmarks.records import Record, begun
from tools.benchmarks.servers import EAGER, peer, running, v1

PAUSE_S = 0.01
# What starts; ours is followed by its precision where that is int8.
OURS, ORIGINAL, IMPORTS = "ours", "original", "import torch, torchvision"
# torchvision needs help where its operators do not load: imgserve/compile/__init__.py.
IMPORT_CODE = "import imgserve.compile"

# The class that should be named, by model and precision.
Categories = dict[tuple[str, str], str]


def measure(plan: Plan) -> Record:
    """Return how long every start took, interleaved, round by round."""
    record = begun("cold", plan)
    record.remarks += models.ensure(plan.models, plan.precisions)
    keys = [(model, precision) for model in plan.models for precision in models.available(model)]
    categories = {key: models.expected_category(*key) for key in keys}
    with picture_host() as host:
        # The first of several rounds fills the page cache and is not counted.
        for number in range(-1 if plan.rounds > 1 else 0, plan.rounds):
            for what, model, seconds in _round(categories, host):
                say(f"cold, round {number + 1}: {what} {model}: {seconds:.2f} s")
                row = {"round": number, "what": what, "model": model, "seconds": seconds}
                record.rows += [row] if number >= 0 else []
    return record


def _round(categories: Categories, host: PictureHost) -> Iterator[tuple[str, str, float]]:
    """Yield what was started, its model, and the seconds that it took."""
    yield IMPORTS, "", _imports_s()
    for (model, precision), category in categories.items():
        label = OURS if precision == AUTO else f"{OURS}, {precision}"
        chosen = {label: v1(model, precision)}
        if precision == AUTO and not peer(ORIGINAL, model, EAGER).missing():
            chosen[ORIGINAL] = peer(ORIGINAL, model, EAGER)
        for what, server in chosen.items():
            try:
                with running(server, host, category) as started:
                    seconds = started.wait_until_ready("upload", pause_s=PAUSE_S)
                yield what, model, seconds
            except Failed as exc:
                say(f"cold: {what} {model}: {exc}")


def _imports_s() -> float:
    with Child("imports", (sys.executable, "-c", IMPORT_CODE), os.environ) as child:
        while child.is_running():
            time.sleep(PAUSE_S)
        return time.perf_counter() - child.started_s
