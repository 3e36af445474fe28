"""One picture shown to every model: a few at once, their answers as they come."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, Queue

from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure, several
from imgserve.frontend.model_list import KnownModel
from imgserve.frontend.predict import NOTICE_AFTER_S, Answered, explained, timed_answer
from imgserve.frontend.session import LinkedPicture, Picture
from imgserve.frontend.waking import retry_while_waking

AT_ONCE = 3  # in v2 they share one backend's cores
COMPARED_CLASSES = 50  # so that a class one model names has a figure from the others too
IN_TURN = "In turn …"
LOOKING = "Looking …"
WAKING = "Waking up …"

Stage = str | Answered | Failure  # what a model is doing, or what came of it
Report = Mapping[KnownModel, Stage]
Show = Callable[[Report], None]


@dataclass(frozen=True)
class Comparison:
    """What every model said.

    Attributes:
        outcomes: in the order of the list.
        linked: whether each model's backend had to fetch the picture.
    """

    outcomes: Mapping[KnownModel, Answered | Failure]
    linked: bool

    @property
    def answered(self) -> dict[str, Answered]:
        """Return the answers by the model's title, without the models that gave none."""
        return {
            model.title: outcome
            for model, outcome in self.outcomes.items()
            if isinstance(outcome, Answered)
        }

    def sentence(self) -> str:
        """Return how far the models agree."""
        said = [each.answer.predictions[0] for each in self.answered.values()]
        if not said:
            return "No model answered"
        names = {each.class_id: each.category for each in said}  # two classes may share a name
        counts = Counter(each.class_id for each in said).most_common()
        (first, most), *others = counts
        if len(said) == 1:
            return f"Only {next(iter(self.answered))} answered: {names[first]}"
        if most > 1 and all(count < most for _, count in others):
            return f"{most} of {len(self.outcomes)} models agree: {names[first]}"
        if most == 1:
            return f"The models disagree: {several(list(names.values()))}"
        shares = [f"{count} say{'s' * (count == 1)} {names[one]}" for one, count in counts]
        return f"The models disagree: {several(shares)}"


def compare(
    picture: Picture,
    backend: BackendClient,
    models: Sequence[KnownModel],
    show: Show,
    *,
    wake_timeout_s: float,
) -> Comparison:
    """Return what every model says; one that fails spoils only its own answer.

    Args:
        picture: what to classify.
        backend: who is asked for each model.
        models: which of them.
        show: called with every model's stage, in this thread, when one has changed and every now
            and then; it draws on the page, so this is where a newer run of it ends this one.
        wake_timeout_s: how long to go on asking for models that are not there yet.
    """
    stages: dict[KnownModel, Stage] = dict.fromkeys(models, IN_TURN)
    show(stages)
    asking = _Asking(picture, backend, models, wake_timeout_s)
    with closing(asking.reports()) as reports:
        for report in reports:
            stages.update(report)
            show(stages)
    outcomes = {model: each for model, each in stages.items() if not isinstance(each, str)}
    return Comparison(outcomes, isinstance(picture, LinkedPicture))


class _Asking:
    """Threads that ask, and what they report."""

    def __init__(
        self,
        picture: Picture,
        backend: BackendClient,
        models: Sequence[KnownModel],
        wake_timeout_s: float,
    ) -> None:
        self._picture = picture
        self._backend = backend
        self._models = models
        self._deadline_s = time.monotonic() + wake_timeout_s  # one for all: they wake together
        self._reports: Queue[Report] = Queue()
        self._abandoned = threading.Event()

    def reports(self) -> Generator[Report, None, None]:
        """Yield the models' stages as they change, and nothing new when that takes long."""
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            threads = [pool.submit(self._ask, model) for model in self._models]
            left = len(threads)
            while left:
                report = self._next(threads)
                left -= sum(not isinstance(stage, str) for stage in report.values())
                yield report
        finally:
            self._abandoned.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _next(self, threads: Sequence[Future[None]]) -> Report:
        try:
            return self._reports.get(timeout=NOTICE_AFTER_S)
        except Empty:
            for thread in threads:
                if thread.done():
                    thread.result()  # raises what nobody foresaw
            return {}

    def _ask(self, model: KnownModel) -> None:
        self._reports.put({model: LOOKING})
        outcome: Answered | Failure
        try:
            outcome = retry_while_waking(
                lambda: timed_answer(self._picture, self._backend, model.id, COMPARED_CLASSES),
                timeout_s=max(0.0, self._deadline_s - time.monotonic()),
                on_wait=lambda: self._wait(model),
            )
        except BackendError as exc:
            outcome = explained(exc)
        self._reports.put({model: outcome})

    def _wait(self, model: KnownModel) -> None:
        """Report that this model is not there yet; end the thread if nobody wants to know."""
        if self._abandoned.is_set():
            raise CancelledError
        self._reports.put({model: WAKING})
