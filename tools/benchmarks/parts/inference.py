"""How long one inference takes alone, without a server: compiled, and in eager torch."""

from contextlib import ExitStack

from imgserve.machine import cpu_quota
from imgserve.models.compiled_model import FP32, INT8
from tools.benchmarks import models
from tools.benchmarks.models import AUTO, HUB, MODEL
from tools.benchmarks.parts.limit import ENGINE, TORCH, loop, repeat
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import say
from tools.benchmarks.records import Rows
from tools.process import Failed

OPENVINO = "openvino"
# Of what a loop is told: the engine and the precision.
ENGINES = {precision: (OPENVINO, precision) for precision in (AUTO, FP32, INT8)}
ENGINES[TORCH] = (TORCH, FP32)


def measure(plan: Plan, remarks: list[str]) -> Rows:
    """Yield the time of single inferences on all cores, compiled and in eager torch.

    A model's engines stay loaded and take turns, so that all meet the same state of the machine.
    """
    chosen = [model for model in plan.models if model == MODEL or model in HUB]
    remarks += models.ensure(chosen, plan.precisions)
    for model in chosen:
        with ExitStack() as stack:
            ready = {}
            for told in (*models.available(model, (AUTO, FP32, INT8)), TORCH):
                try:
                    ready[told] = stack.enter_context(loop(model, told, cpu_quota()))
                except Failed as exc:
                    say(f"latency: {exc}")
            for number in range(-1, plan.repeats):  # the first is a warm-up
                for told, process in ready.items():
                    took_ms = 1000 * process.submit(repeat, ENGINE, 0).result().seconds
                    engine, precision = ENGINES[told]
                    row = {"model": model, "engine": engine, "precision": precision}
                    if number >= 0:
                        yield {"round": number, **row, "inference_ms": took_ms}
