"""Models without a server: how long one inference takes, and how often int8 agrees with fp32."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.loop import ENGINE, TORCH, Job, loop, repeat
from tools.benchmarks.models import EMBEDDED, FP32, HUB, INT8, MODEL
from tools.benchmarks.plan import Plan
from tools.benchmarks.process import MB, Failed, say
from tools.benchmarks.records import Record, begun

OPENVINO = "openvino"


def latency(plan: Plan) -> Record:
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
    for precision in (*models.available(model), TORCH):
        try:
            yield precision, stack.enter_context(loop(Job(model, precision, cpu_quota())))
        except Failed as exc:
            say(f"latency: {exc}")


def agreement(plan: Plan) -> Record:
    """Return how often int8 names fp32's class, of every model whose weights are trained ones.

    The compiler counts it, on parts of photographs that int8 was not calibrated on.
    """
    record = begun("agreement", plan)
    chosen = [model for model in plan.models if model in EMBEDDED]
    record.remarks += models.ensure(chosen, plan.precisions)
    for model in chosen:
        fp32, int8 = (models.info(model, precision) for precision in (FP32, INT8))
        if fp32 and int8 and (found := int8.quantization):
            same = round(found.same_class * found.pictures)
            row = {"model": model, "pictures": found.pictures, "same": same}
            sizes = {
                "fp32_mb": fp32.weights.size_bytes / MB,
                "int8_mb": int8.weights.size_bytes / MB,
            }
            record.rows.append(row | sizes)
            say(f"agreement: {model}: the same class of {same} of {found.pictures} pictures")
    return record
