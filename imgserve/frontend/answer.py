"""What the page answers: sentence, thumbnail, bar chart, times; or why there is no answer."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import Prediction
from imgserve.errors import BackendError
from imgserve.frontend.batch import Table, classify_batch, show_table
from imgserve.frontend.client import BackendClient
from imgserve.frontend.comparison import (
    Comparison,
    cards_in,
    compare,
    offer_another_try,
    show_comparison,
)
from imgserve.frontend.messages import (
    INCOMPLETE,
    Failure,
    answer_sentence,
    duration,
    percent,
    plain,
)
from imgserve.frontend.model_list import Status, expire_models
from imgserve.frontend.model_picker import Choice, models_to_ask
from imgserve.frontend.predict import Answered, Patience, explained, predict
from imgserve.frontend.session import Batch, Question, current_question

LOOKING = "Looking at the picture …"
WAKING = "The classifier is waking up, which can take a minute. This page keeps trying."

Outcome = Answered | Comparison | Table | Failure


def show_answer(
    placeholder: DeltaGenerator,
    backend: BackendClient,
    choice: Choice | None = None,
    *,
    wake_timeout_s: float,
) -> None:
    """Draw the answer to what was asked, asking the backend first where that was not done yet.

    Draw the rest of the page before, as this may take long; ``placeholder`` is an ``st.empty()``.
    The backend has ``wake_timeout_s`` to wake up; ``choice`` says which of its models, where it has
    several.
    """
    question = current_question()
    if question is None:
        _preload_charts()
        return
    if "outcome" not in st.session_state:
        outcome = _outcome(question, backend, choice, placeholder, wake_timeout_s)
        st.session_state.outcome = outcome
        if choice and _is_news(choice, outcome):
            expire_models()
            st.rerun()
    with placeholder.container(border=not isinstance(st.session_state.outcome, Failure)):
        _show(st.session_state.outcome)
        if choice and choice.compares and isinstance(st.session_state.outcome, Table):
            st.caption("A list of pictures goes to one model, the first; compare one at a time.")


def _preload_charts() -> None:
    """Import Altair while the person looks for a picture: the first answer should not wait."""
    import imgserve.frontend.charts  # noqa: F401  for its side effect


def _outcome(
    question: Question,
    backend: BackendClient,
    choice: Choice | None,
    placeholder: DeltaGenerator,
    wake_timeout_s: float,
) -> Outcome:
    def on_wait() -> None:
        placeholder.status(WAKING)

    patience = Patience(wake_timeout_s, on_wait)
    try:
        models = models_to_ask(choice, backend, patience)
        model = models[0].id if models else None
        if isinstance(question, Batch):
            return classify_batch(question, backend, placeholder, patience, model=model)
        if choice and choice.compares:
            show = cards_in(placeholder, models)
            return compare(question, backend, models, show, wake_timeout_s=wake_timeout_s)
        placeholder.status(LOOKING)
        return patience.call(lambda: predict(question, backend, model))
    except BackendError as exc:
        return explained(exc)


def _is_news(choice: Choice, outcome: Outcome) -> bool:
    """Return whether the models are not as the page believed them to be."""
    match outcome:
        case Answered(answer):
            return choice.known(answer.model).status is not Status.READY
        case Failure():
            return outcome.again
        case Comparison():
            return True  # every model was used; the newer run also removes the cards of this one
    return not choice.models


def _show(outcome: Outcome) -> None:
    match outcome:
        case Answered():
            _show_answered(outcome)
        case Failure():
            _show_failure(outcome)
        case Comparison():
            show_comparison(outcome)
        case _:
            show_table(outcome)


def _show_failure(failure: Failure) -> None:
    st.error(f"{plain(failure.sentence)}  \n{plain(failure.next_step)}", icon=":material/error:")
    if failure.again:
        offer_another_try()


def _show_answered(answered: Answered) -> None:
    answer = answered.answer
    best = next(iter(answer.predictions), None)
    st.header(plain(answer_sentence(answer.category, best)), anchor=False)
    if best is None:  # a backend that says no more
        return
    picture, chart = st.columns([2, 3], gap="medium", vertical_alignment="center")
    with picture:
        if answered.thumbnail:
            alt_text = f"The picture as the model saw it, probably {answer.category}"
            st.image(answered.thumbnail, width="stretch", alt=alt_text)
    with chart:
        _show_chart(answer.predictions)
    if answer.incomplete:
        st.info(INCOMPLETE)
    computed = f" ({answer.precision})" if answer.precision else ""
    st.caption(plain(f"Model: {answer.model}{computed}") + "  \n" + plain(times(answered)))


def _show_chart(predictions: list[Prediction]) -> None:
    from imgserve.frontend.charts import bar_chart

    classes = ", ".join(f"{top.category} {percent(top.probability)}" for top in predictions)
    st.altair_chart(bar_chart(predictions), alt=f"Most probable classes: {classes}")


def times(answered: Answered) -> str:
    """Return how long each part took, in one line."""
    timings = answered.answer.timings_ms
    parts = ("fetch", "decode", "preprocess", "inference", "total")
    taken = {part: getattr(timings, part) for part in parts}
    taken["round trip"] = answered.round_trip_ms
    return " · ".join(f"{part} {duration(ms)}" for part, ms in taken.items())
