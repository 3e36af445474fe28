"""Ask one running contender: check it, load it, check it again."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Entrance, Standing, by_url, upload
from tools.benchmarks.processes import load, tree
from tools.benchmarks.processes.child import Failed
from tools.benchmarks.processes.load import Question
from tools.benchmarks.processes.picture_host import PictureHost
from tools.benchmarks.work import decoded

WARM_UP_CLIENTS, WARM_UP_S = 8, 1


class Row(msgspec.Struct, frozen=True):
    """One entrance, asked one way by so many clients, in one round.

    Attributes:
        entrance: of a contender; ``limit`` and ``bare`` are loops without HTTP, ``bare`` one alone.
        failed: answers that were not 200, and connections that broke.
        server_cpu_s: of the server's processes; likewise of wrk and of the picture host.
        peak_mb: the most memory the server had meanwhile (PSS; RSS of a bare loop).
    """

    round: int
    entrance: str
    way: str
    clients: int
    answers: int
    failed: int
    seconds: float
    rate: float
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    generator_cpu_s: float
    host_cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Asker:
    """What is asked: one picture, from one host, and the class that it has."""

    host: PictureHost
    picture: Path
    category: str

    def question(self, stands: Standing, entrance: Entrance, way: str) -> Question:
        """Return a request for an entrance."""
        address = stands.address(entrance, way)
        if way == "url":
            return by_url(address, self.host.url(self.picture))
        return upload(address, self.picture.read_bytes(), pictures.media_type(self.picture))

    def wait_for(self, stands: Standing, way: str, *, pause_s: float = 0.05) -> None:
        """Wait until every entrance has the right answer.

        Raises:
            Failed: it never has, or has a wrong one.
        """
        for entrance in stands.contender.entrances:
            question = self.question(stands, entrance, way)
            child = stands.children[entrance.program]
            child.wait_until(lambda: stands.answers_as(question, self.category), pause_s=pause_s)  # noqa: B023

    def load(
        self, stands: Standing, entrance: Entrance, way: str, clients: int, seconds: float
    ) -> Row:
        """Return what an entrance did under load; its answer is right before and after.

        Raises:
            Failed: it is not.
        """
        question = self.question(stands, entrance, way)
        self._check(stands, question)
        server_s, host_s = tree.cpu_s(stands.pids), tree.cpu_s([self.host.pid])
        with tree.Peak(stands.pids) as peak:
            answers = load.ask(question, clients=clients, seconds=seconds)
        server_s = tree.cpu_s(stands.pids) - server_s
        host_s = tree.cpu_s([self.host.pid]) - host_s
        self._check(stands, question)
        return Row(
            round=0,
            entrance=entrance.name,
            way=way,
            clients=clients,
            answers=answers.answers,
            failed=answers.not_ok + answers.broken,
            seconds=answers.seconds,
            rate=answers.answers / answers.seconds,
            p50_ms=answers.p50_ms,
            p99_ms=answers.p99_ms,
            server_cpu_s=server_s,
            generator_cpu_s=answers.generator_cpu_s,
            host_cpu_s=host_s,
            peak_mb=peak.mb,
        )

    def warm_up(self, stands: Standing, way: str) -> None:
        """Load every entrance for a moment."""
        for entrance in stands.contender.entrances:
            question = self.question(stands, entrance, way)
            load.ask(question, clients=WARM_UP_CLIENTS, seconds=WARM_UP_S)

    def _check(self, stands: Standing, question: Question) -> None:
        if not stands.answers_as(question, self.category):
            raise Failed(f"{stands.contender.name} does not answer 200")


def category_of(model: str, picture: Path, precision: str = "fp32") -> str:
    """Return the class that our compiled model finds, in this process."""
    classifier = models.load(model, precision, "openvino", 1)
    made = classifier(decoded(picture.read_bytes(), classifier.transform))
    return classifier.categories[int(made.probabilities.argmax())]
