"""Ask a backend: about a picture, about many, or every model about one; and say how it goes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, TypeVar

import tenacity
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError
from imgserve.frontend.client import Answered, BackendClient, Picture
from imgserve.frontend.messages import Failure, explained, html, say
from imgserve.frontend.model_choice import KnownModel
from imgserve.frontend.outcomes import Comparison, Row, comparison_so_far

T = TypeVar("T")

# Cloud Run holds a request while a container starts: silence this long means that, most likely.
NOTICE_AFTER_S = 4.0
NOTICE_EVERY_S = 1.0
SHOW_EVERY_S = 0.25
PICTURES_AT_ONCE = 4  # fetching is mostly waiting; a backend's queue holds many more
MODELS_AT_ONCE = 3  # in v2 they share one backend's cores
COMPARED_CLASSES = 50  # so that a class one model names has a figure from the others too
IN_TURN, LOOKING, WAKING = "In turn …", "Looking …", "Waking up …"  # what a call is doing
# Why the answer to one is late.
ASLEEP = "The classifier is waking up, which can take a minute. This page keeps trying."
SLOW_HOST = "The host of this picture is slow to send it. This page is still waiting."
BUSY = "The classifier is taking its time. This page is still waiting."


@dataclass
class Asking:
    """A question on its way to a backend, and the place on the page that says how it goes."""

    pictures: Sequence[Picture]
    backend: BackendClient
    place: DeltaGenerator
    timeout_s: float  # how long to try while the backend is not there yet
    model: str | None = None  # who is asked; without it the backend's own

    def ask_one(self, call: Callable[[], T]) -> T | Failure:
        """Return what ``call`` asks of the backend; draw why it is late, as far as is known."""
        notice_s = time.monotonic() + NOTICE_AFTER_S

        def say_why(stages: Sequence[object]) -> None:
            if WAKING not in stages and time.monotonic() < notice_s:
                return
            words = SLOW_HOST if len(self.pictures) == 1 and self.pictures[0].url else BUSY
            if WAKING in stages or not self.backend.is_ready(self.model):
                words = ASLEEP
            self.place.html(html.waiting(say(words)))

        return ask_all([call], say_why, self.timeout_s, NOTICE_EVERY_S)[0]

    def ask(self, *, explain: bool) -> Answered | Failure:
        self.place.html(html.waiting(say("Looking at the picture …")))
        picture = self.pictures[0]
        return self.ask_one(partial(self.backend.predict, picture, self.model, explain=explain))

    def ask_about_many(self) -> list[Row] | Failure:
        """Return a row for each picture, failed ones too, showing progress meanwhile.

        Failure where there is no backend, as the first picture, which goes alone, finds out.
        """
        calls = [partial(self.backend.predict, picture, self.model) for picture in self.pictures]

        def show(stages: Sequence[object]) -> None:
            done = 1 + sum(not isinstance(stage, str) for stage in stages)
            self.place.progress(done / len(calls), f"{done} / {len(calls)}")

        self.place.progress(0.0, f"0 / {len(calls)}")
        first = self.ask_one(calls[0])
        if isinstance(first, Failure) and not first.slug:
            return first
        others = ask_all(calls[1:], show, self.timeout_s, SHOW_EVERY_S, PICTURES_AT_ONCE)
        return list(map(Row.of, self.pictures, [first, *others]))

    def compare(self, models: Sequence[KnownModel]) -> Comparison:
        """Return what every model says; one that fails spoils only its own answer."""

        def call(model: KnownModel) -> Answered:
            classes = model.facts and model.facts.classes
            top_k = min(COMPARED_CLASSES, classes) if classes else None
            return self.backend.predict(self.pictures[0], model.id, top_k)

        def show(stages: Sequence[str | Answered | Failure]) -> None:
            self.place.html(comparison_so_far(dict(zip(models, stages, strict=True))))

        calls = [partial(call, model) for model in models]
        outcomes = ask_all(calls, show, self.timeout_s, SHOW_EVERY_S, MODELS_AT_ONCE)
        return dict(zip(models, outcomes, strict=True))


def ask_all(
    calls: Sequence[Callable[[], T]],
    show: Callable[[Sequence[Any]], None],
    timeout_s: float,
    show_every_s: float,
    at_once: int = 1,
) -> list[T | Failure]:
    """Return what each call returns, or why it failed; so many are under way at once.

    A call is made again while its backend may be waking up, until ``timeout_s`` is over for all.
    ``show`` is given how far each is. As it draws on the page, Streamlit abandons this run there
    for a newer one; calls that run are then left to end by themselves. A fault of ours ends all.
    """
    stages: list[Any] = [IN_TURN] * len(calls)
    abandoned = Event()
    ask = partial(_ask, calls, stages, time.monotonic() + timeout_s, abandoned)
    pool = ThreadPoolExecutor(at_once)
    try:
        left = {pool.submit(ask, number) for number in range(len(calls))}
        while left:
            show([*stages])
            done, left = wait(left, timeout=show_every_s, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
    finally:
        abandoned.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return stages


def _ask(
    calls: Sequence[Callable[[], object]],
    stages: list[Any],
    deadline_s: float,
    abandoned: Event,
    number: int,
) -> None:
    """Make one of the calls, and note how far it is, at last what came of it."""
    left_s = max(0.0, deadline_s - time.monotonic())
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda exc: getattr(exc, "may_wake", False)),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=3, jitter=0.5),
        stop=tenacity.stop_before_delay(left_s) | tenacity.stop_when_event_set(abandoned),
        before_sleep=lambda _: stages.__setitem__(number, WAKING),
        sleep=tenacity.sleep_using_event(abandoned),
        reraise=True,
    )
    stages[number] = LOOKING
    try:
        stages[number] = attempts(calls[number])
    except BackendError as exc:
        stages[number] = explained(exc)
