"""How long one inference takes alone, without a server: compiled, and in eager torch."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.loop import ENGINE, TORCH, Job, loop, repeat
from tools.benchmarks.models import AUTO, FP32, HUB, INT8, MODEL
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import Failed, say
from tools.benchmarks.records import Record, begun

OPENVINO = "openvino"


def measure(plan: Plan) -> Record:
    """Return the time of single inferences on all cores, compiled and in eager torch.

    A model's engines stay loaded and take turns, so that all meet the same state of the machine.
    """
    record = begun("latency", plan)
    chosen = [model for model in plan.models if model == MODEL or model in HUB]
    record.remarks += models.ensure(chosen, plan.precisions)
    for model in chosen:
        with ExitStack() as stack:
            ready = dict(_loaded(model, stack))
            for number in range(-1, plan.repeats):  # the first is a warm-up
                for precision, process in ready.items():
                    took_ms = 1000 * process.submit(repeat, ENGINE, 0).result().seconds
                    is_torch = precision == TORCH
                    row = {
                        "round": number,
                        "model": model,
                        "engine": TORCH if is_torch else OPENVINO,
                        "precision": FP32 if is_torch else precision,
                        "inference_ms": took_ms,
                    }
                    record.rows += [row] if number >= 0 else []
        say(f"latency: {model}: {', '.join(ready)}")
    return record


def _loaded(model: str, stack: ExitStack) -> Iterator[tuple[str, ProcessPoolExecutor]]:
    for precision in (AUTO, FP32, INT8, TORCH):
        if precision != TORCH and not models.is_compiled(model, precision):
            continue
        try:
            yield precision, stack.enter_context(loop(Job(model, precision, cpu_quota())))
        except Failed as exc:
            say(f"latency: {exc}")
