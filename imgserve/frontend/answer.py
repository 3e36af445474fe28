"""What the page answers: sentence, thumbnail, bar chart, times; or why there is no answer."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import Prediction
from imgserve.errors import BackendError
from imgserve.frontend.batch import Table, classify_all, show_table
from imgserve.frontend.client import BackendClient
from imgserve.frontend.comparison import Comparison, compare
from imgserve.frontend.messages import Failure, answer_sentence, duration, percent, plain
from imgserve.frontend.model_list import Status, look_again
from imgserve.frontend.model_picker import Pick, wanted_models
from imgserve.frontend.predict import Answered, explained, patient_answer
from imgserve.frontend.session import ManyLinks, Question, asked
from imgserve.frontend.side_by_side import cards_in, offer_another_try, show_comparison

LOOKING = "Looking at the picture …"
WAKING = "The classifier is waking up, which can take a minute. This page keeps trying."

Outcome = Answered | Comparison | Table | Failure


def show_answer(
    place: DeltaGenerator,
    backend: BackendClient,
    pick: Pick | None = None,
    *,
    wake_timeout_s: float,
) -> None:
    """Draw the answer to what was asked, asking the backend first where that was not done yet.

    Args:
        place: an ``st.empty()``; draw the rest of the page before, as this may take long.
        backend: who is asked.
        pick: which of its models, where it has several.
        wake_timeout_s: how long to wait for a backend that is waking up.
    """
    question = asked()
    if question is None:
        _prepare()
        return
    if "outcome" not in st.session_state:
        outcome = _outcome(question, backend, pick, place, wake_timeout_s)
        st.session_state.outcome = outcome
        if pick and _is_news(pick, outcome):
            look_again()
            st.rerun()
    with place.container(border=not isinstance(st.session_state.outcome, Failure)):
        _show(st.session_state.outcome)
        if pick and pick.compares and isinstance(st.session_state.outcome, Table):
            st.caption("A list of pictures goes to one model, the first; compare one at a time.")


def _prepare() -> None:
    """Import what only an answer needs while the person still looks for a picture.

    Altair takes longer to import than all the rest, so neither the empty page nor the first answer
    should wait for it.
    """
    import imgserve.frontend.charts  # noqa: F401


def _outcome(
    question: Question,
    backend: BackendClient,
    pick: Pick | None,
    place: DeltaGenerator,
    wake_timeout_s: float,
) -> Outcome:
    def notice() -> None:
        place.status(WAKING)

    try:
        models = wanted_models(pick, backend, wake_timeout_s, notice) if pick else []
        model = models[0].id if models else None
        if isinstance(question, ManyLinks):
            return classify_all(question, backend, place, notice, wake_timeout_s, model=model)
        if pick and pick.compares:
            cards = cards_in(place, models)
            return compare(question, backend, models, cards, wake_timeout_s=wake_timeout_s)
        place.status(LOOKING)
        return patient_answer(
            question, backend, model, wake_timeout_s=wake_timeout_s, notice=notice
        )
    except BackendError as exc:
        return explained(exc)


def _is_news(pick: Pick, outcome: Outcome) -> bool:
    """Return whether the models are not as the page believed them to be."""
    match outcome:
        case Answered(answer):
            return pick.known(answer.model).status is not Status.READY
        case Failure():
            return outcome.again
        case Comparison():
            return True  # every model was used; the newer run also removes the cards of this one
    return not pick.models


def _show(outcome: Outcome) -> None:
    match outcome:
        case Answered():
            show_answered(outcome)
        case Failure():
            show_failure(outcome)
        case Comparison():
            show_comparison(outcome)
        case _:
            show_table(outcome)


def show_failure(failed: Failure) -> None:
    """Draw why there is no answer, and a way to try again where that can help."""
    st.error(f"{plain(failed.sentence)}  \n{plain(failed.next_step)}", icon=":material/error:")
    if failed.again:
        offer_another_try()


def show_answered(answered: Answered) -> None:
    """Draw the sentence, the picture as the model saw it, the chart and the times."""
    answer = answered.answer
    st.header(plain(answer_sentence(answer.predictions[0])), anchor=False)
    picture, chart = st.columns([2, 3], gap="medium", vertical_alignment="center")
    with picture:
        show_thumbnail(answered)
    with chart:
        show_chart(answer.predictions)
    st.caption(plain(f"Model: {answer.model}") + "  \n" + plain(times(answered)))


def show_thumbnail(answered: Answered) -> None:
    """Draw the picture that came back."""
    if answered.thumbnail:
        alt_text = f"The picture as the model saw it, probably {answered.answer.category}"
        st.image(answered.thumbnail, width="stretch", alt=alt_text)


def show_chart(predictions: list[Prediction]) -> None:
    """Draw one bar for each class, with its name and percentage above it."""
    from imgserve.frontend.charts import bar_chart

    described = ", ".join(f"{each.category} {percent(each.probability)}" for each in predictions)
    st.altair_chart(bar_chart(predictions), alt=f"Most probable classes: {described}")


def times(answered: Answered) -> str:
    """Return how long each part took, in one line."""
    spent = answered.answer.timings_ms
    parts = {
        "fetch": spent.fetch,
        "decode": spent.decode,
        "preprocess": spent.preprocess,
        "inference": spent.inference,
        "total": spent.total,
        "round trip": answered.round_trip_ms,
    }
    return " · ".join(f"{name} {duration(taken)}" for name, taken in parts.items())
