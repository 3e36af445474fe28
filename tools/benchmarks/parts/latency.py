"""One inference alone, on all cores: compiled against eager torch, model by model.

Both stay loaded and take turns, so that they are measured in the same state of the machine.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from tools.benchmarks import models, pictures
from tools.benchmarks.parts.stages import timed
from tools.benchmarks.places import PICTURES
from tools.benchmarks.plan import MODEL, Plan
from tools.benchmarks.processes.child import Child, Failed
from tools.benchmarks.processes.picture_host import picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say
from tools.benchmarks.stages.timed import Stages

TORCH = ("torch", "fp32")


class Row(msgspec.Struct, frozen=True):
    """One inference of one model, as one engine runs it in one precision."""

    round: int
    model: str
    engine: str
    precision: str
    inference_ms: float


def measure(plan: Plan) -> Record:
    """Return the time of many single inferences."""
    record = begun("latency", plan)
    chosen = (MODEL, *plan.hub_models)
    remarks = models.ensure(chosen, plan.precisions)
    rows = []
    usual = pictures.usual()
    with picture_host(PICTURES) as host:
        for model in chosen:
            rows += list(_of(plan, model, host.url(usual)))
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _of(plan: Plan, model: str, url: str) -> Iterator[Row]:
    ways = [("openvino", each) for each in models.available(model)] + [TORCH]
    with ExitStack() as stack:
        ready: dict[tuple[str, str], Child] = {}
        for engine, precision in ways:
            try:
                ready[engine, precision] = stack.enter_context(timed(model, engine, precision))
            except Failed as exc:
                say(f"latency: {exc}")
        for number in range(-1, plan.repeats):  # the first is a warm-up
            for (engine, precision), child in ready.items():
                stages = msgspec.json.decode(child.ask(url), type=Stages)
                if number >= 0:
                    yield Row(number, model, engine, precision, stages.inference_ms)
    say(f"latency: {model}: {', '.join(' '.join(each) for each in ready)}")
