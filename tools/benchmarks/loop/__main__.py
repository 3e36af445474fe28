"""Classify one picture again and again: ``python -m tools.benchmarks.loop JOB``.

Says ``ready``; then for each line of standard input, the kind of work and a number of seconds,
loops for so long and answers with a line of JSON.
"""

import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from imgserve.models import compiled_model as artefact
from imgserve.models import loading
from imgserve.models.classifier import Classification, Classifier
from imgserve.models.transform import crop
from tools.benchmarks import models
from tools.benchmarks.loop.arrangement import StreamsEngine
from tools.benchmarks.loop.lap import ENGINE, WHOLE, Job, Lap
from tools.benchmarks.work import decoded

KIB, MB = 1024, 1e6

# Returns the class of the picture, by its number.
Step = Callable[[], int]


def whole(classifier: Classifier, path: Path) -> Step:
    """Return what reads, decodes, preprocesses and infers a picture."""

    def step() -> int:
        made: Classification = classifier(decoded(path.read_bytes(), classifier.transform))
        return int(np.argmax(made.probabilities))

    return step


def engine_alone(classifier: Classifier, path: Path) -> Step:
    """Return what infers a picture that was read, decoded and preprocessed once."""
    crops = crop(decoded(path.read_bytes(), classifier.transform), classifier.transform)
    return lambda: int(np.argmax(classifier.engine(crops)[0]))


def classifier(job: Job) -> Classifier:
    """Return the job's model with its engine."""
    folder = loading.compiled_folder(models.settings(job.precision))
    info = artefact.read_info(folder, job.model, job.precision)
    graph = models.graph(job.model, job.precision)
    engine = StreamsEngine(graph, streams=job.streams, threads=job.threads)
    return Classifier(info.model, info.categories, info.transform, engine)


def lap(step: Step, loops: int, seconds: float) -> tuple[int, float]:
    """Return how many pictures so many threads made, and in how many seconds."""
    started = time.perf_counter()
    counts = [0] * loops

    def run(number: int) -> None:
        while time.perf_counter() - started < seconds:
            step()
            counts[number] += 1

    threads = [threading.Thread(target=partial(run, number)) for number in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), time.perf_counter() - started


def main(text: str) -> None:
    """Do a job until standard input ends."""
    job = msgspec.json.decode(text, type=Job)
    model, path = classifier(job), Path(job.picture)
    steps = {WHOLE: whole(model, path), ENGINE: engine_alone(model, path)}
    category = model.categories[steps[WHOLE]()]
    _tell(b'"ready"')
    for line in sys.stdin:
        work, duration_s = line.split()
        before_s = time.process_time()
        pictures, seconds = lap(steps[work], job.loops, float(duration_s))
        cpu_s = time.process_time() - before_s
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / MB
        _tell(msgspec.json.encode(Lap(pictures, seconds, cpu_s, memory_mb, category)))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
