"""Time the stages of predictions: ``python -m tools.benchmarks.stages JOB``.

Says ``ready``; then answers each line of standard input, a picture's address, with its stages.
"""

import sys
import time

import msgspec

from imgserve.machine import cpu_quota
from imgserve.models.classifier import Classifier
from imgserve.pictures.fetch import Fetcher
from tools.benchmarks import models
from tools.benchmarks.processes.child import LOOPBACK
from tools.benchmarks.stages.timed import Job, Stages
from tools.benchmarks.work import decoded

LIMIT_BYTES = 100_000_000
TIMEOUT_S = 10


def stages(fetcher: Fetcher, classifier: Classifier, url: str) -> Stages:
    """Return how long each stage took for the picture at an address."""
    started = time.perf_counter()
    data = fetcher.fetch(url)
    fetched = time.perf_counter()
    picture = decoded(data, classifier.transform)
    ended = time.perf_counter()
    made = classifier(picture)
    return Stages(
        fetch_ms=(fetched - started) * 1000,
        decode_ms=(ended - fetched) * 1000,
        preprocess_ms=made.preprocess_ms,
        inference_ms=made.inference_ms,
    )


def main(text: str) -> None:
    """Answer until standard input ends."""
    job = msgspec.json.decode(text, type=Job)
    classifier = models.load(job.model, job.precision, job.engine, cpu_quota())
    fetcher = Fetcher(
        limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S, allowed_addresses=[f"{LOOPBACK}/32"]
    )
    _tell(b'"ready"')
    for line in sys.stdin:
        _tell(msgspec.json.encode(stages(fetcher, classifier, line.strip())))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
