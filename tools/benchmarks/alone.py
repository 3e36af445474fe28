"""A model without a server: the limit, single inferences, and how often it is right.

The limit is what this engine does on all cores without HTTP. A loop classifies one picture again
and again, in a process that stays loaded. All arrangements of loops are loaded and wait while one
after the other runs.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import product
from multiprocessing import get_context, parent_process
from typing import NamedTuple

from imgserve.evaluate import labelled_pictures
from imgserve.machine import cpu_quota
from imgserve.models.classifier import DEFAULT_TOP_K, crop
from imgserve.models.compiled_model import FP32, INT8
from imgserve.pictures.decode import decode
from tools.benchmarks import models
from tools.benchmarks.models import AUTO, LIMIT_PIXELS
from tools.benchmarks.plan import HUB, MODEL, SIZES, Plan, enlarged, sample_photograph
from tools.benchmarks.programs import memory_mb, say
from tools.benchmarks.results import Results, Row, Rows
from tools.process import Failed

# All of the work, from the file to the class, or the inference alone.
WHOLE, ENGINE = "whole", "engine"
OPENVINO, TORCH = "openvino", "torch"
WARM_UP_S = 0.3


class Throughput(NamedTuple):
    """What processes did in a while, and their memory at the end (PSS)."""

    pictures: int
    seconds: float
    cpu_s: float
    memory_mb: float


# In the process: the work by its name.
_steps: dict[str, Callable[[], object]] = {}


def _load(model: str, precision: str, threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if precision == TORCH:
        from tools.benchmarks import torch_models  # only here: it takes seconds

        classifier = torch_models.load(model, threads)
    else:
        classifier = models.load(model, precision, threads)
    picture = sample_photograph()
    decoded, _ = decode(picture.read_bytes(), limit_pixels=LIMIT_PIXELS)
    crops = crop(decoded, classifier.transform)
    _steps[WHOLE] = lambda: models.predictions(classifier, picture.read_bytes())
    _steps[ENGINE] = lambda: classifier.engine(crops)


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def repeat(work: str, seconds: float, loops: int) -> Throughput:
    """Return what this process does in so many seconds, in as many threads as there are loops.

    Each of them does one picture at least.
    """
    started, cpu_started = time.perf_counter(), time.process_time()

    def run() -> int:
        count = 0
        while not count or time.perf_counter() - started < seconds:
            _steps[work]()
            count += 1
        return count

    with ThreadPoolExecutor(loops) as threads:
        others = [threads.submit(run) for _ in range(loops - 1)]
        pictures = run() + sum(other.result() for other in others)  # torch keeps to its thread
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    return Throughput(pictures, took_s, cpu_s, memory_mb([os.getpid()]))


class Arrangement(NamedTuple):
    processes: int  # each with a model of its own
    threads: int  # that infer, in each process
    loops: int  # threads of each process that read, decode, resize and wait for the inference


def arrangements() -> list[Arrangement]:
    """Return the ways that are tried; the first is one loop that has all cores to itself.

    Several streams in one process were tried and are slower than several processes: NOTES.md.
    """
    cores = cpu_quota()
    shares = (1, cores, 1), (1, cores, cores), (cores, 1, 1), (cores, 1, 2)
    return [Arrangement(*share) for share in shares]


@contextmanager
def loaded(
    arrangement: Arrangement, precision: str = AUTO, model: str = MODEL
) -> Iterator[Callable[[str, float], Throughput]]:
    """Load an arrangement; yield what runs it: some work, for so many seconds.

    ``precision`` is that of the compiled model, or ``torch`` for eager torch. Failed where the
    model cannot be loaded.
    """
    job = (model, precision, arrangement.threads)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), _load, job))
            for _ in range(arrangement.processes)
        ]

        def run(work: str, seconds: float) -> Throughput:
            asked = [one.submit(repeat, work, seconds, arrangement.loops) for one in processes]
            pictures, took_s, cpu_s, mb = zip(*(one.result() for one in asked), strict=True)
            return Throughput(sum(pictures), max(took_s), sum(cpu_s), sum(mb))

        try:
            run(WHOLE, 0)
        except BrokenProcessPool as exc:
            raise Failed(f"{model}, {precision} could not be loaded") from exc
        yield run


def measure_limit(plan: Plan, remarks: list[str]) -> Rows:
    """Yield the rates of all arrangements, interleaved, round by round."""
    remarks += models.ensure([MODEL], plan.precisions)
    with ExitStack() as stack:
        runs = {
            way: stack.enter_context(loaded(*way))
            for way in product(arrangements(), models.available(MODEL))
        }
        turns = product(range(plan.rounds), runs.items(), (WHOLE, ENGINE))
        for number, ((arrangement, precision), run), work in turns:
            run(work, WARM_UP_S)
            done = run(work, plan.loop_s)
            row = {"round": number, "work": work, "precision": precision}
            rate, cpu_s_each = done.pictures / done.seconds, done.cpu_s / done.pictures
            spent = {"rate": rate, "cpu_s_each": cpu_s_each, "memory_mb": done.memory_mb}
            yield {**row, **arrangement._asdict(), **spent}


def best_arrangement(results: Results) -> Arrangement:
    """Return the arrangement with the highest median rate; a usual one where none was measured."""
    rows = results["limit"]
    rows = rows[(rows.work == WHOLE) & (rows.precision == AUTO)]
    if rows.empty:
        return arrangements()[-2]
    return Arrangement(*map(int, rows.groupby([*Arrangement._fields]).rate.median().idxmax()))


def measure_latency(plan: Plan, remarks: list[str]) -> Rows:
    """Yield the time of single inferences on all cores, compiled and in eager torch.

    A model's engines stay loaded and take turns, so that all meet the same state of the machine.
    """
    chosen = [model for model in plan.models if model == MODEL or model in HUB]
    remarks += models.ensure(chosen, plan.precisions)
    for model in chosen:
        with ExitStack() as stack:
            runs = {}
            for told in (*models.available(model, (AUTO, FP32, INT8)), TORCH):
                try:
                    runs[told] = stack.enter_context(loaded(arrangements()[0], told, model))
                except Failed as exc:
                    say(f"latency: {exc}")
            for number in range(-1, 20):  # the first is a warm-up
                for told, run in runs.items():
                    took_ms = 1000 * run(ENGINE, 0).seconds
                    engine, precision = (TORCH, FP32) if told == TORCH else (OPENVINO, told)
                    row = {"model": model, "engine": engine, "precision": precision}
                    if number >= 0:
                        yield {"round": number, **row, "inference_ms": took_ms}


def measure_accuracy(plan: Plan, remarks: list[str]) -> Rows:
    """Yield how often each way is right about a folder's pictures, as they are and enlarged.

    Failed where no folder is named; EvaluationFailed where there are no labelled pictures in it.
    """
    if plan.photos is None:
        raise Failed("accuracy needs labelled photographs: PHOTOS=folder (see imgserve.evaluate)")
    remarks += models.ensure([MODEL], plan.precisions)
    from tools.benchmarks.torch_models import eager  # here: it imports torch

    probabilities, categories = eager(MODEL)
    pictures = labelled_pictures(plan.photos, categories)
    precisions = models.available(MODEL, (AUTO, FP32, INT8))
    ours = {precision: models.load(MODEL, precision, cpu_quota()) for precision in precisions}
    for megapixels in SIZES[:2]:
        row: Row = {"model": MODEL, "megapixels": megapixels, "pictures": len(pictures)}
        rows = {way: {**row, "way": way, "top1": 0, "top5": 0} for way in (TORCH, *ours)}
        for path, label in pictures:
            data = enlarged(path, megapixels)
            named = {TORCH: probabilities([data])[0].topk(DEFAULT_TOP_K).indices.tolist()}
            for way, classifier in ours.items():
                named[way] = [one.class_id for one in models.predictions(classifier, data)]
            for way, classes in named.items():
                rows[way]["top1"] += label == classes[0]
                rows[way]["top5"] += label in classes
        yield from rows.values()
