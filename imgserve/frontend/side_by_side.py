"""What every model said, drawn: the verdict, a card for each, and where they agree."""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.frontend.comparison import Comparison, Report, Show, Stage
from imgserve.frontend.messages import Failure, duration, percent, plain
from imgserve.frontend.model_list import KnownModel
from imgserve.frontend.predict import Answered
from imgserve.frontend.session import ask_again

FETCHED_EACH = "The picture was fetched from its address once for each model."


def cards_in(place: DeltaGenerator, models: Sequence[KnownModel]) -> Show:
    """Return what draws the models' stages in ``place``: how many are done, and a card for each."""
    box = place.container(border=True)
    bar = box.progress(0.0)
    with box:
        slots = dict(zip(models, _grid(len(models)), strict=True))
    drawn: dict[KnownModel, Stage] = {}

    def show(stages: Report) -> None:
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
    if comparison.linked and answered:
        st.caption(FETCHED_EACH)
    if any(isinstance(each, Failure) and each.again for each in comparison.outcomes.values()):
        offer_another_try()


def offer_another_try() -> None:
    """Draw a way to ask the same again."""
    st.button("Try again", icon=":material/refresh:", on_click=ask_again)


def _grid(count: int) -> list[DeltaGenerator]:
    """Return a place for each card, at most three in a row."""
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
    thumbnails = [each.thumbnail for each in answered.values() if each.thumbnail]
    if thumbnails:
        st.image(thumbnails[0], width="stretch", alt="The picture as the models saw it")


def _heat_map(answered: Mapping[str, Answered]) -> None:
    from imgserve.frontend.heat_map import heat_map

    predictions = {title: each.answer.predictions for title, each in answered.items()}
    described = "; ".join(
        f"{title}: {said[0].category} {percent(said[0].probability)}"
        for title, said in predictions.items()
    )
    st.altair_chart(heat_map(predictions), alt=f"Most probable class by model: {described}")
