"""Classify one picture again and again without a server, in a process that stays loaded."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process

from tools.benchmarks import models
from tools.benchmarks.paths import sample_photograph
from tools.benchmarks.process import Failed, memory_mb

# All of the work, from the file to the class, or the inference alone.
WHOLE, ENGINE = "whole", "engine"
TORCH = "torch"


@dataclass(frozen=True)
class Job:
    """What a loop does.

    Attributes:
        precision: of the compiled model; ``torch`` for eager torch.
        threads: of each inference.
        loops: threads that each classify one picture after the other.
    """

    model: str
    precision: str
    threads: int
    loops: int = 1


@dataclass(frozen=True)
class Throughput:
    """What one process did in a while, and its memory at the end (PSS)."""

    pictures: int
    seconds: float
    cpu_s: float
    memory_mb: float


@contextmanager
def loop(job: Job) -> Iterator[ProcessPoolExecutor]:
    """Run a process with a loaded model; ask it for laps with ``submit(repeat, work, seconds)``.

    Raises:
        Failed: the model could not be loaded.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _load, (job,)) as process:
        try:
            process.submit(repeat, WHOLE, 0).result()
        except BrokenProcessPool as exc:
            raise Failed(f"{job.model}, {job.precision} could not be loaded") from exc
        yield process


# In the process: the work by its name, and how many threads do it.
_steps: dict[str, Callable[[], object]] = {}
_loops: list[int] = []


def _load(job: Job) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if job.precision == TORCH:
        from tools.benchmarks import torch_models  # only here: it takes seconds

        classifier = torch_models.load(job.model, job.threads)
    else:
        classifier = models.load(job.model, job.precision, job.threads)
    picture = sample_photograph()
    _steps[WHOLE] = lambda: models.category(classifier, picture.read_bytes())
    _steps[ENGINE] = models.inference(classifier, picture.read_bytes())
    _loops.append(job.loops)


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def repeat(work: str, seconds: float) -> Throughput:
    """Return what this process does in so many seconds; each thread does one picture at least."""
    started, cpu_started = time.perf_counter(), time.process_time()
    counts = [0] * _loops[0]

    def run(number: int) -> None:
        while not counts[number] or time.perf_counter() - started < seconds:
            _steps[work]()
            counts[number] += 1

    others = [threading.Thread(target=partial(run, number)) for number in range(1, len(counts))]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    return Throughput(sum(counts), took_s, cpu_s, memory_mb([os.getpid()]))
