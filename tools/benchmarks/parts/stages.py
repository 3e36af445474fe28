"""Where the time of one prediction goes: fetch, decode, preprocess, inference, and the rest.

The stages are timed one after the other in a process of their own, with our own code; the rest is
what a server's answer takes beyond the total that it states, as its client sees it.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec
import requests

from imgserve.contract import PredictAnswer
from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Standing, by_url, standing
from tools.benchmarks.contenders.ours import v1
from tools.benchmarks.parts.asking import Asker, category_of
from tools.benchmarks.pictures import Kind
from tools.benchmarks.places import PICTURES
from tools.benchmarks.plan import MODEL, Plan
from tools.benchmarks.processes.child import Child, Failed
from tools.benchmarks.processes.picture_host import PictureHost, picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say
from tools.benchmarks.stages.timed import Job, Stages

# The largest of the pictures, a PNG, is larger than a backend takes by itself.
MAX_IMAGE_BYTES = 100_000_000


class Row(msgspec.Struct, frozen=True):
    """The medians of one model's stages on one picture, in milliseconds.

    Attributes:
        rest_ms: what the service adds; None where no server was asked.
    """

    model: str
    engine: str
    precision: str
    megapixels: float
    format: str
    size_bytes: int
    fetch_ms: float
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    rest_ms: float | None = None


def measure(plan: Plan) -> Record:
    """Return the stages of every model, engine and precision, and of every picture."""
    record = begun("stages", plan)
    remarks = models.ensure(plan.models, plan.precisions)
    for kind in plan.kinds:
        pictures.made(kind)
    with picture_host(PICTURES) as host:
        rows = [*_of_pictures(plan, host), *_of_models(plan, host)]
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _of_pictures(plan: Plan, host: PictureHost) -> Iterator[Row]:
    """Yield the stages of each picture with one model, with what the service adds."""
    contender = v1(MODEL, MAX_IMAGE_BYTES=str(MAX_IMAGE_BYTES))
    with standing(contender) as stands, timed(MODEL, "openvino", "fp32") as child:
        usual = pictures.usual()
        Asker(host, usual, category_of(MODEL, usual)).wait_for(stands, "url")
        for kind in plan.kinds:
            row = _row(plan, child, host, (MODEL, "openvino", "fp32"), kind)
            rest_ms = _rest_ms(plan, stands, host.url(pictures.made(kind)))
            yield _told(msgspec.structs.replace(row, rest_ms=rest_ms))


def _of_models(plan: Plan, host: PictureHost) -> Iterator[Row]:
    """Yield the stages of one small picture with every model as every engine runs it."""
    for model in plan.models:
        openvino = [("openvino", precision) for precision in models.available(model)]
        for engine, precision in [*openvino, ("torch", "fp32")]:
            try:
                with timed(model, engine, precision) as child:
                    told = _row(plan, child, host, (model, engine, precision), plan.kinds[0])
                    yield _told(told)
            except Failed as exc:
                say(f"{model}, {engine}, {precision}: {exc}")


@contextmanager
def timed(model: str, engine: str, precision: str) -> Iterator[Child]:
    """Run a process that times stages, and is ready to be asked.

    Raises:
        Failed: the model cannot be had.
    """
    job = msgspec.json.encode(Job(model, engine, precision)).decode()
    command = (sys.executable, "-m", "tools.benchmarks.stages", job)
    with Child(f"stages-{model}-{engine}-{precision}", command, os.environ, talks=True) as child:
        child.ask()
        yield child


def _row(plan: Plan, child: Child, host: PictureHost, who: tuple[str, str, str], kind: Kind) -> Row:
    path: Path = pictures.made(kind)
    said = [_asked(child, host.url(path)) for _ in range(plan.repeats + 1)][1:]
    middle = {
        field: median(getattr(each, field) for each in said) for field in Stages.__struct_fields__
    }
    return Row(*who, kind.megapixels, kind.format, path.stat().st_size, **middle)


def _asked(child: Child, url: str) -> Stages:
    return msgspec.json.decode(child.ask(url), type=Stages)


def _rest_ms(plan: Plan, stands: Standing, picture_url: str) -> float:
    """Return what a client waits beyond the total that the answer states: the median."""
    question = by_url(stands.address(stands.contender.entrances[0], "url"), picture_url)
    found = []
    with requests.Session() as http:
        http.headers["Content-Type"] = question.media_type
        for _ in range(plan.repeats + 1):
            started = time.perf_counter()
            answer = http.post(question.url, data=question.body)
            waited_ms = (time.perf_counter() - started) * 1000
            if not answer.ok:
                raise Failed(f"{picture_url}: {answer.text}")
            made = msgspec.json.decode(answer.content, type=PredictAnswer)
            found.append(waited_ms - made.timings_ms.total)
    return median(found[1:])


def _told(row: Row) -> Row:
    say(
        f"stages: {row.model}, {row.engine}, {row.precision}, {row.megapixels:g} MP {row.format}: "
        f"fetch {row.fetch_ms:.1f}, decode {row.decode_ms:.1f}, preprocess {row.preprocess_ms:.1f},"
        f" inference {row.inference_ms:.1f} ms"
    )
    return row
