"""One picture shown to every model: a few at once, their answers as they come, side by side."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from html import escape

from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import Prediction
from imgserve.errors import BackendError
from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient, retry_while_waking
from imgserve.frontend.language import say
from imgserve.frontend.messages import INCOMPLETE, Failure, duration, joined
from imgserve.frontend.model_list import KnownModel
from imgserve.frontend.predict import Answered, explained, predict
from imgserve.frontend.session import LinkedPicture, Picture

AT_ONCE = 3  # in v2 they share one backend's cores
SHOW_EVERY_S = 0.25
IN_TURN = "In turn …"
LOOKING = "Looking …"
WAKING = "Waking up …"
FETCHED_EACH = "The picture was fetched from its address once for each model."

Stage = str | Answered | Failure  # what a model is doing, or what came of it
Stages = Mapping[KnownModel, Stage]

TOP_CLASSES = 2  # of each model may get a column
COLUMNS = 4


@dataclass(frozen=True)
class Comparison:
    """What every model said, in the order of the list."""

    outcomes: Mapping[KnownModel, Answered | Failure]
    linked: bool  # each model's backend had to fetch the picture

    @property
    def again(self) -> bool:
        """Return whether asking again can help one of the models."""
        outcomes = self.outcomes.values()
        return any(isinstance(outcome, Failure) and outcome.again for outcome in outcomes)

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
        best = [outcome.answer.predictions[0] for outcome in self.answered.values()]
        if not best:
            return say("No model answered")
        counts = Counter(top.category for top in best).most_common()  # ids are each model's own
        (first, most), *others = counts
        if len(best) == 1:
            return say("Only {model} answered: {what}", model=next(iter(self.answered)), what=first)
        if most > 1 and all(count < most for _, count in others):
            agree, count = "{most} of {count} models agree: {what}", len(self.outcomes)
            return say(agree, most=most, count=count, what=first)
        said = [name if most == 1 else f"{name} ({count})" for name, count in counts]
        return say("The models disagree: {what}", what=joined(said))


def compare(
    picture: Picture,
    backend: BackendClient,
    models: Sequence[KnownModel],
    place: DeltaGenerator,
    *,
    wake_timeout_s: float,
) -> Comparison:
    """Return what every model says; one that fails spoils only its own answer.

    How far each model is, is drawn in ``place`` every now and then: this is where a newer run of
    the page ends this one.
    """
    questioning = _Questioning(picture, backend, models, wake_timeout_s)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        show_stages(questioning.stages, place)
        left = {pool.submit(questioning.ask, model) for model in models}
        while left:
            done, left = wait(left, timeout=SHOW_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # raises what nobody foresaw
            show_stages(dict(questioning.stages), place)
    finally:
        questioning.abandoned.set()
        pool.shutdown(wait=False, cancel_futures=True)
    stages = questioning.stages.items()
    outcomes = {model: stage for model, stage in stages if not isinstance(stage, str)}
    return Comparison(outcomes, isinstance(picture, LinkedPicture))


def show_stages(stages: Stages, place: DeltaGenerator) -> None:
    done = sum(not isinstance(stage, str) for stage in stages.values())
    said = say("{done} of {count} models have answered", done=done, count=len(stages))
    markup.draw(f'<div class="answer">{markup.heading(said)}{_table(stages)}</div>', place)


class _Questioning:
    """The stages of every model, as the threads that ask keep them."""

    def __init__(
        self,
        picture: Picture,
        backend: BackendClient,
        models: Sequence[KnownModel],
        wake_timeout_s: float,
    ) -> None:
        self.stages: dict[KnownModel, Stage] = dict.fromkeys(models, IN_TURN)
        self.abandoned = threading.Event()
        self._picture = picture
        self._backend = backend
        self._deadline_s = time.monotonic() + wake_timeout_s  # one for all: they wake together

    def ask(self, model: KnownModel) -> None:
        self.stages[model] = LOOKING
        try:
            self.stages[model] = retry_while_waking(
                lambda: predict(self._picture, self._backend, model.id, model.compared_classes),
                timeout_s=max(0.0, self._deadline_s - time.monotonic()),
                on_wait=lambda: self._wait(model),
            )
        except BackendError as exc:
            self.stages[model] = explained(exc)

    def _wait(self, model: KnownModel) -> None:
        """Note that this model is not there yet; end the thread if nobody wants to know."""
        if self.abandoned.is_set():
            raise CancelledError
        self.stages[model] = WAKING


def show_comparison(comparison: Comparison) -> None:
    """Draw what every model said."""
    sentence = comparison.sentence()
    answered = comparison.answered
    thumbnails = [outcome.thumbnail for outcome in answered.values() if outcome.thumbnail]
    alt = say("The picture as the models saw it")
    incomplete = any(outcome.answer.incomplete for outcome in answered.values())
    markup.draw(
        f'<div class="answer">{markup.heading(sentence, sentence)}'
        f"{_table(comparison.outcomes)}"
        f"{markup.picture(thumbnails[0] if thumbnails else None, alt)}"
        + (f"<p>{say(INCOMPLETE)}</p>" if incomplete else "")
        + (markup.small(say(FETCHED_EACH)) if comparison.linked and answered else "")
        + "</div>"
    )


def _table(stages: Stages) -> str:
    """Return a row for each model, and a column for each of the classes most believed in."""
    answers = {
        model.title: stage.answer.predictions
        for model, stage in stages.items()
        if isinstance(stage, Answered)
    }
    shares = class_shares(answers)
    columns = [say("Model"), *shares, say("Time")]
    rows = (_cells(model, stage, shares) for model, stage in stages.items())
    return markup.table(say("Answers"), columns, rows)


def _cells(model: KnownModel, stage: Stage, shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    title = escape(model.title)
    if not isinstance(stage, Answered):
        words = stage.words() if isinstance(stage, Failure) else say(stage)
        return [title, *[""] * len(shares), escape(words)]
    return [
        title,
        *(markup.share(of_models.get(model.title)) for of_models in shares.values()),
        duration(stage.round_trip_ms),
    ]


def class_shares(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, float]]:
    """Return, by class, each model's probability; the class most believed in first.

    Models may know different classes: those with one name are one.
    """
    named = {top.category for classes in predictions.values() for top in classes[:TOP_CLASSES]}
    rows: dict[str, dict[str, float]] = {}
    for title, classes in predictions.items():
        for one in classes:
            if one.category in named:
                shares = rows.setdefault(one.category, {})
                shares[title] = shares.get(title, 0.0) + one.probability
    believed = sorted(rows, key=lambda name: -sum(rows[name].values()))
    return {name: rows[name] for name in believed[:COLUMNS]}
