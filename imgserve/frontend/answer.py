"""What the page answers: sentence, picture, bars, times; or why there is no answer."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError
from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient
from imgserve.frontend.comparison import Comparison, compare, show_comparison
from imgserve.frontend.language import say
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
from imgserve.frontend.more import offer_more
from imgserve.frontend.predict import Answered, Patience, explained, predict, waiting_words
from imgserve.frontend.session import (
    Batch,
    Question,
    current_question,
    forget_outcome,
)
from imgserve.frontend.table import Row, Table, classify_batch, remember, show_table
from imgserve.settings import FrontendSettings

LOOKING = "Looking at the picture …"

Outcome = Answered | Comparison | Table | Failure


def show_answer(
    placeholder: DeltaGenerator,
    backend: BackendClient,
    settings: FrontendSettings,
    choice: Choice | None = None,
) -> None:
    """Draw the answer to what was asked, asking the backend first where that was not done yet.

    Draw the rest of the page before, as this may take long; ``placeholder`` is an ``st.empty()``.
    ``choice`` says which of the backend's models is asked, where it has several.
    """
    question = current_question()
    if question is not None and "outcome" not in st.session_state:
        found = _outcome(question, backend, choice, placeholder, settings.wake_timeout_s)
        st.session_state.outcome = found
        _remember(question, found)
        if choice and _is_news(choice, found):
            expire_models()
            st.rerun()
    outcome: Outcome | None = st.session_state.get("outcome")
    if outcome is None:
        return
    with placeholder.container():
        _show(outcome)
        if isinstance(outcome, Answered) and not isinstance(question, (Batch, type(None))):
            offer_more(
                question,
                outcome,
                backend,
                chosen=choice is not None,
                explains=settings.explain == "1",
            )
        if choice and choice.compares and isinstance(outcome, Table):
            st.markdown(say("Many pictures go to one model, the first; compare one at a time."))


def _outcome(
    question: Question,
    backend: BackendClient,
    choice: Choice | None,
    placeholder: DeltaGenerator,
    wake_timeout_s: float,
) -> Outcome:
    model = None

    def on_wait() -> None:
        markup.draw(markup.waiting(say(waiting_words(question, backend, model))), placeholder)

    patience = Patience(wake_timeout_s, on_wait)
    try:
        models = models_to_ask(choice, backend, patience)
        model = models[0].id if models else None
        if isinstance(question, Batch):
            return classify_batch(question, backend, placeholder, patience, model=model)
        if choice and choice.compares:
            return compare(question, backend, models, placeholder, wake_timeout_s=wake_timeout_s)
        markup.draw(markup.waiting(say(LOOKING)), placeholder)
        explain = st.session_state.get("explain", False)
        return patience.call(lambda: predict(question, backend, model, explain=explain))
    except BackendError as exc:
        return explained(exc)


def _remember(question: Question, outcome: Outcome) -> None:
    if isinstance(outcome, Table):
        remember(*outcome.rows)
    elif isinstance(question, Batch):
        return
    elif isinstance(outcome, Comparison):
        remember(*(Row.of(question, one) for one in outcome.answered.values()))
    elif isinstance(outcome, Answered) and not outcome.answer.explanation:
        remember(Row.of(question, outcome))  # one with a map was asked before, without


def _is_news(choice: Choice, outcome: Outcome) -> bool:
    """Return whether the models are not as the page believed them to be."""
    match outcome:
        case Answered(answer):
            return choice.known(answer.model).status is not Status.READY
        case Failure():
            return outcome.again
        case Comparison():
            return True  # every model was used
    return not choice.models


def _show(outcome: Outcome) -> None:
    match outcome:
        case Answered():
            _show_answered(outcome)
        case Failure():
            st.error(plain(outcome.words()))
        case Comparison():
            show_comparison(outcome)
        case Table():
            show_table(outcome)
    if isinstance(outcome, (Failure, Comparison)) and outcome.again:
        st.button(say("Try again"), on_click=forget_outcome)


def _show_answered(answered: Answered) -> None:
    answer = answered.answer
    best = next(iter(answer.predictions), None)
    sentence = answer_sentence(answer.category, answer.predictions)
    if best is None:  # a backend that says no more
        markup.draw(f'<div class="answer">{markup.heading(sentence, sentence)}</div>')
        return
    announced = f"{sentence}, {percent(best.probability)}"
    alt = say("The picture as the model saw it, probably {what}", what=answer.category)
    computed = f" ({answer.precision})" if answer.precision else ""
    markup.draw(
        f'<div class="answer">{markup.heading(sentence, announced)}<div class="two">'
        f"<div>{markup.picture(answered.thumbnail, alt, answer.explanation or ())}</div>"
        f"<div>{markup.bars(answer.predictions)}</div></div>"
        + (f"<p>{say(INCOMPLETE)}</p>" if answer.incomplete else "")
        + markup.small(say("Model: {model}", model=answer.model) + computed, times(answered))
        + "</div>"
    )


def times(answered: Answered) -> str:
    """Return how long each part took, in one line."""
    timings = answered.answer.timings_ms
    parts = ("fetch", "decode", "preprocess", "inference", "total")
    taken = {part: getattr(timings, part) for part in parts}
    taken["round trip"] = answered.round_trip_ms
    return " · ".join(f"{say(part)} {duration(ms)}" for part, ms in taken.items())
