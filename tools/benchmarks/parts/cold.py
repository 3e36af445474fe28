"""Cold start: from the start of a process to its first right answer.

The files have been read before, so they come from memory, for every server.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping

from tools.benchmarks import models
from tools.benchmarks.models import AUTO
from tools.benchmarks.picture_host import PictureHost, picture_host
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import child, say
from tools.benchmarks.records import Row, Rows
from tools.benchmarks.servers import EAGER, missing, peer, running, v1
from tools.process import Failed

PAUSE_S = 0.01
# What starts; ours is followed by its precision where that is int8.
OURS, ORIGINAL, IMPORTS = "ours", "original", "import torch, torchvision"
# torchvision needs help where its operators do not load: imgserve/compile/__init__.py.
IMPORT_CODE = "import imgserve.compile"

# The class that should be named, by model and precision.
Categories = Mapping[tuple[str, str], str]


def measure(plan: Plan, remarks: list[str]) -> Rows:
    """Yield how long every start took, interleaved, round by round."""
    remarks += models.ensure(plan.models, plan.precisions)
    keys = [(model, precision) for model in plan.models for precision in models.available(model)]
    categories = {key: models.expected_category(*key) for key in keys}
    with picture_host() as host:
        # The first of several rounds fills the page cache and is not counted.
        for number in range(-1 if plan.rounds > 1 else 0, plan.rounds):
            for row in _round(categories, host):
                if number >= 0:
                    yield {"round": number, **row}


def _round(categories: Categories, host: PictureHost) -> Iterator[Row]:
    """Yield what was started, its model, and the seconds that it took."""
    with child("imports", (sys.executable, "-c", IMPORT_CODE), os.environ) as imports:
        while not imports.has_ended():
            time.sleep(PAUSE_S)
        seconds = time.perf_counter() - imports.started_s
    yield {"what": IMPORTS, "model": "", "seconds": seconds}
    for (model, precision), category in categories.items():
        chosen = {OURS if precision == AUTO else f"{OURS}, {precision}": v1(model, precision)}
        if precision == AUTO and not missing(f"{ORIGINAL}_{EAGER}"):
            chosen[ORIGINAL] = peer(ORIGINAL, model, EAGER)
        for what, server in chosen.items():
            try:
                with running(server, host, category) as (entrance,):
                    seconds = entrance.wait_until_ready("upload", pause_s=PAUSE_S)
                yield {"what": what, "model": model, "seconds": seconds}
            except Failed as exc:
                say(f"cold: {what} {model}: {exc}")
