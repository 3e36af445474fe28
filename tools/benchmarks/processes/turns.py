"""Clients that ask for one thing after the other, and look at each answer.

Where one answer takes seconds, a fixed time would count the quick ones only: here clients go on
until there are enough, and what was asked is waited for. One process with threads asks: that takes
about a millisecond of a core for each answer.
"""

import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit

import msgspec

from tools.benchmarks.processes.load import ANSWER_S, Question

LIMIT_S = 120
OK = 200


@dataclass(frozen=True)
class Turn:
    """A question, and the class that a right answer has."""

    question: Question
    category: str


@dataclass
class Turns:
    """What came back.

    Attributes:
        took_ms: of each answer of any kind.
        failed: answers that were not 200 or not right, and connections that broke.
        seconds: from the first question to the last answer.
    """

    took_ms: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Return the answers a second."""
        return len(self.took_ms) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """Return what so many percent of the answers took at most; 0 where there is none."""
        if len(self.took_ms) < 2:  # noqa: PLR2004  of one there are no quantiles
            return sum(self.took_ms)
        return quantiles(self.took_ms, n=100, method="inclusive")[percent - 1]


def ask_in_turn(turns: Sequence[Turn], *, clients: int, seconds: float, least: int) -> Turns:
    """Return what clients were answered, each of which asks what is next once it has its answer.

    Args:
        turns: asked one after the other, by whichever client is free.
        clients: at the same time.
        seconds: for which they go on asking.
        least: questions that are asked, however long it takes, but for two minutes at most.
    """
    asking = Asking(turns, seconds, least)
    with ThreadPoolExecutor(clients) as threads:
        try:
            for client in [threads.submit(asking.ask) for _ in range(clients)]:
                client.result()
        finally:
            asking.stop()  # interrupted, clients end with the answer they wait for
    asking.found.seconds = time.perf_counter() - asking.started_s
    return asking.found


class Asking:
    """What clients share: whose turn it is, and what came back."""

    def __init__(self, turns: Sequence[Turn], seconds: float, least: int) -> None:
        self.found = Turns()
        self.started_s = time.perf_counter()
        self._turns = itertools.cycle(turns)
        self._seconds, self._least, self._begun = seconds, least, 0
        self._is_over = False
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Ask as one client until it is enough."""
        while turn := self._next():
            self._keep_asking(turn)

    def stop(self) -> None:
        """Let nobody ask again."""
        self._is_over = True

    def _keep_asking(self, turn: Turn | None) -> None:
        """Ask over one connection until it is enough, or until the connection breaks."""
        address = urlsplit(turn.question.url).netloc if turn else ""
        with closing(http.client.HTTPConnection(address, timeout=ANSWER_S)) as connection:
            while turn:
                started_s = time.perf_counter()
                try:
                    is_right = _is_right(connection, turn)
                except (OSError, http.client.HTTPException):
                    self._count(None, failed=True)
                    return
                self._count((time.perf_counter() - started_s) * 1000, failed=not is_right)
                turn = self._next()

    def _next(self) -> Turn | None:
        with self._lock:
            elapsed_s = time.perf_counter() - self.started_s
            is_enough = self._begun >= self._least and elapsed_s >= self._seconds
            if self._is_over or is_enough or elapsed_s >= LIMIT_S:
                return None
            self._begun += 1
            return next(self._turns)

    def _count(self, took_ms: float | None, *, failed: bool) -> None:
        with self._lock:
            self.found.took_ms += [] if took_ms is None else [took_ms]
            self.found.failed += failed


def _is_right(connection: http.client.HTTPConnection, turn: Turn) -> bool:
    question = turn.question
    headers = {"Content-Type": question.media_type}
    connection.request("POST", urlsplit(question.url).path, question.body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != OK:
        return False
    return bool(msgspec.json.decode(said)["category"] == turn.category)
