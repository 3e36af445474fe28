"""One picture shown to every model: a few at once, their answers as they come, side by side."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient, retry_while_waking
from imgserve.frontend.messages import INCOMPLETE, Failure, duration, joined, percent, plain
from imgserve.frontend.model_list import KnownModel
from imgserve.frontend.predict import Answered, explained, predict
from imgserve.frontend.session import LinkedPicture, Picture, forget_outcome

AT_ONCE = 3  # in v2 they share one backend's cores
SHOW_EVERY_S = 0.25
IN_TURN = "In turn …"
LOOKING = "Looking …"
WAKING = "Waking up …"
FETCHED_EACH = "The picture was fetched from its address once for each model."

Stage = str | Answered | Failure  # what a model is doing, or what came of it
Stages = Mapping[KnownModel, Stage]
Show = Callable[[Stages], None]


@dataclass(frozen=True)
class Comparison:
    """What every model said, in the order of the list."""

    outcomes: Mapping[KnownModel, Answered | Failure]
    linked: bool  # each model's backend had to fetch the picture

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
            return "No model answered"
        counts = Counter(top.category for top in best).most_common()  # ids are each model's own
        (first, most), *others = counts
        if len(best) == 1:
            return f"Only {next(iter(self.answered))} answered: {first}"
        if most > 1 and all(count < most for _, count in others):
            return f"{most} of {len(self.outcomes)} models agree: {first}"
        if most == 1:
            return f"The models disagree: {joined([name for name, _ in counts])}"
        shares = [f"{count} say{'s' * (count == 1)} {name}" for name, count in counts]
        return f"The models disagree: {joined(shares)}"


def compare(
    picture: Picture,
    backend: BackendClient,
    models: Sequence[KnownModel],
    show: Show,
    *,
    wake_timeout_s: float,
) -> Comparison:
    """Return what every model says; one that fails spoils only its own answer.

    ``show`` is called with every model's stage, in this thread, every now and then; it draws on the
    page, so this is where a newer run of it ends this one.
    """
    questioning = _Questioning(picture, backend, models, wake_timeout_s)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        show(questioning.stages)
        left = {pool.submit(questioning.ask, model) for model in models}
        while left:
            done, left = wait(left, timeout=SHOW_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # raises what nobody foresaw
            show(dict(questioning.stages))
    finally:
        questioning.abandoned.set()
        pool.shutdown(wait=False, cancel_futures=True)
    stages = questioning.stages.items()
    outcomes = {model: stage for model, stage in stages if not isinstance(stage, str)}
    return Comparison(outcomes, isinstance(picture, LinkedPicture))


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


def cards_in(placeholder: DeltaGenerator, models: Sequence[KnownModel]) -> Show:
    """Return what draws how many models are done in ``placeholder``, and a card for each."""
    box = placeholder.container(border=True)
    bar = box.progress(0.0)
    with box:
        slots = dict(zip(models, _grid(len(models)), strict=True))
    drawn: dict[KnownModel, Stage] = {}

    def show(stages: Stages) -> None:
        done = sum(not isinstance(stage, str) for stage in stages.values())
        bar.progress(done / len(models), f"{done} of {len(models)} models have answered")
        for model, stage in stages.items():
            if drawn.get(model) != stage:
                drawn[model] = stage
                _card(slots[model], model.title, stage)

    return show


def show_comparison(comparison: Comparison) -> None:
    """Draw what every model said."""
    st.header(plain(comparison.sentence()), anchor=False)
    answered = comparison.answered
    if answered:
        picture, chart = st.columns([2, 3], gap="medium", vertical_alignment="center")
        with picture:
            _thumbnail(answered)
        with chart:
            _heat_map(answered)
    slots = _grid(len(comparison.outcomes))
    for slot, (model, outcome) in zip(slots, comparison.outcomes.items(), strict=True):
        _card(slot, model.title, outcome)
    if any(outcome.answer.incomplete for outcome in answered.values()):
        st.info(INCOMPLETE)
    if comparison.linked and answered:
        st.caption(FETCHED_EACH)
    outcomes = comparison.outcomes.values()
    if any(isinstance(outcome, Failure) and outcome.again for outcome in outcomes):
        offer_another_try()


def offer_another_try() -> None:
    """Draw a way to ask the same again."""
    st.button("Try again", icon=":material/refresh:", on_click=forget_outcome)


def _grid(count: int) -> list[DeltaGenerator]:
    """Return a slot for each card, at most three in a row."""
    in_a_row = 2 if count in {2, 4} else 3
    rows = [st.columns(in_a_row) for _ in range(0, count, in_a_row)]
    return [column.empty() for row in rows for column in row][:count]


def _card(slot: DeltaGenerator, title: str, stage: Stage) -> None:
    with slot.container(border=True, gap="xsmall"):
        st.caption(plain(title))
        match stage:
            case Answered(answer):
                best = answer.predictions[0]
                inference = duration(answer.timings_ms.inference)
                st.markdown(f"**{plain(best.category)}**")
                st.caption(
                    f"{plain(percent(best.probability))}  \n"
                    f"{inference} inference, {duration(stage.round_trip_ms)} in all"
                )
            case Failure():
                st.markdown("**No answer**")
                st.caption(f":red[:material/error:] {plain(f'{stage.sentence} {stage.next_step}')}")
            case _:
                st.status(stage)


def _thumbnail(answered: Mapping[str, Answered]) -> None:
    thumbnails = [outcome.thumbnail for outcome in answered.values() if outcome.thumbnail]
    if thumbnails:
        st.image(thumbnails[0], width="stretch", alt="The picture as the models saw it")


def _heat_map(answered: Mapping[str, Answered]) -> None:
    from imgserve.frontend.charts import heat_map

    predictions = {title: outcome.answer.predictions for title, outcome in answered.items()}
    described = "; ".join(
        f"{title}: {classes[0].category} {percent(classes[0].probability)}"
        for title, classes in predictions.items()
    )
    st.altair_chart(heat_map(predictions), alt=f"Most probable class by model: {described}")
