"""One picture shown to every model: a few at once, their answers as they come, side by side."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import Prediction
from imgserve.errors import BackendError
from imgserve.frontend import markup
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import Failure, duration, joined, say
from imgserve.frontend.model_choice import KnownModel
from imgserve.frontend.waiting import Asking, explained, retry_while_waking, watch

AT_ONCE = 3  # in v2 they share one backend's cores
SHOW_EVERY_S = 0.25
IN_TURN = "In turn …"
LOOKING = "Looking …"
WAKING = "Waking up …"
COMPARED_CLASSES = 50  # so that a class one model names has a figure from the others too
TOP_CLASSES = 2  # of each model may get a column
COLUMNS = 4

Stage = str | Answered | Failure  # what a model is doing, or what came of it
Stages = Mapping[KnownModel, Stage]
Comparison = dict[KnownModel, Answered | Failure]


@dataclass
class _Round:
    """What the threads that ask share: how far every model is, and whether anybody waits."""

    asking: Asking
    stages: dict[KnownModel, Stage]
    deadline_s: float  # one for all: they wake together
    abandoned: bool = False

    def ask(self, model: KnownModel) -> None:
        classes = model.facts and model.facts.classes
        top_k = min(COMPARED_CLASSES, classes) if classes else None

        def on_wait() -> None:
            if self.abandoned:
                raise CancelledError  # ends the thread
            self.stages[model] = WAKING

        self.stages[model] = LOOKING
        try:
            self.stages[model] = retry_while_waking(
                lambda: self.asking.backend.predict(self.asking.pictures[0], model.id, top_k),
                timeout_s=max(0.0, self.deadline_s - time.monotonic()),
                on_wait=on_wait,
            )
        except BackendError as exc:
            self.stages[model] = explained(exc)


def compare(asking: Asking, models: Sequence[KnownModel]) -> Comparison:
    """Return what every model says, in the order given; one that fails spoils only its own answer.

    How far each model is, is drawn every now and then.
    """
    stages: dict[KnownModel, Stage] = dict.fromkeys(models, IN_TURN)
    round_ = _Round(asking, stages, time.monotonic() + asking.timeout_s)
    show = partial(_show_stages, stages, asking.place)
    show()
    try:
        calls = [partial(round_.ask, model) for model in models]
        watch(calls, show, every_s=SHOW_EVERY_S, at_once=AT_ONCE)
    finally:
        round_.abandoned = True
    return {model: stage for model, stage in stages.items() if not isinstance(stage, str)}


def _show_stages(stages: Stages, place: DeltaGenerator) -> None:
    stages = dict(stages)  # as they are now: those that ask go on
    done = sum(not isinstance(stage, str) for stage in stages.values())
    said = say("{done} of {count} models have answered", done=done, count=len(stages))
    place.html(markup.answer(markup.heading(said), _table(stages)))


def show_comparison(outcomes: Comparison, picture: Picture) -> None:
    """Draw what every model said of a picture."""
    said = sentence(outcomes)
    answered = _answered(outcomes).values()
    thumbnail = next((one.thumbnail for one in answered if one.thumbnail), None)
    fetched = say("The picture was fetched from its address once for each model.")
    st.html(
        markup.answer(
            markup.heading(said, said),
            _table(outcomes),
            markup.picture(thumbnail, say("The picture as the models saw it")),
            markup.incomplete(*(one.answer for one in answered)),
            markup.small(fetched) if picture.url and answered else "",
        )
    )


def sentence(outcomes: Comparison) -> str:
    """Return how far the models agree."""
    answered = _answered(outcomes)
    best = [one.answer.predictions[0].category for one in answered.values()]
    if not best:
        return say("No model answered")
    (first, most), *others = counts = Counter(best).most_common()  # ids are each model's own
    if len(best) == 1:
        return say("Only {model} answered: {what}", model=next(iter(answered)).title, what=first)
    if most > 1 and all(count < most for _, count in others):
        agree, count = "{most} of {count} models agree: {what}", len(outcomes)
        return say(agree, most=most, count=count, what=first)
    said = [name if most == 1 else f"{name} ({count})" for name, count in counts]
    return say("The models disagree: {what}", what=joined(said))


def _answered(stages: Stages) -> dict[KnownModel, Answered]:
    return {model: stage for model, stage in stages.items() if isinstance(stage, Answered)}


def _table(stages: Stages) -> str:
    """Return a row for each model, and a column for each of the classes most believed in."""
    answers = {model: one.answer.predictions for model, one in _answered(stages).items()}
    shares = class_shares(answers)
    rows = []
    for model, stage in stages.items():
        if isinstance(stage, Answered):
            cells = [markup.share(by_model.get(model)) for by_model in shares.values()]
            said = duration(stage.round_trip_ms)
        else:
            cells = [""] * len(shares)
            said = stage.words() if isinstance(stage, Failure) else say(stage)
        rows.append([escape(model.title), *cells, escape(said)])
    return markup.table(say("Answers"), [say("Model"), *shares, say("Time")], rows)


def class_shares(
    predictions: Mapping[KnownModel, Sequence[Prediction]],
) -> dict[str, dict[KnownModel, float]]:
    """Return, by class, each model's probability; the class most believed in first.

    Models may know different classes: those with one name are one.
    """
    named = {top.category for classes in predictions.values() for top in classes[:TOP_CLASSES]}
    rows: dict[str, dict[KnownModel, float]] = {}
    for model, classes in predictions.items():
        for one in classes:
            if one.category in named:
                shares = rows.setdefault(one.category, {})
                shares[model] = shares.get(model, 0.0) + one.probability
    believed = sorted(rows, key=lambda name: -sum(rows[name].values()))
    return {name: rows[name] for name in believed[:COLUMNS]}
