"""What the page answers: sentence, picture, bars, times; or why there is no answer."""

import json
import shlex
from collections.abc import Sequence
from functools import partial
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError
from imgserve.frontend import markup
from imgserve.frontend.client import Answered, BackendClient, Picture
from imgserve.frontend.comparison import Comparison, compare, show_comparison
from imgserve.frontend.messages import Failure, answer_sentence, duration, percent, plain, say
from imgserve.frontend.model_choice import Choice, KnownModel, expire_models
from imgserve.frontend.question import current_question, forget_outcome
from imgserve.frontend.table import Row, classify_batch, remember, show_table
from imgserve.frontend.waiting import Asking, explained
from imgserve.settings import FrontendSettings

LOOKING = "Looking at the picture …"
PROGRAM = """import requests

answer = requests.post({url!r}, {sent}, timeout=60)
for top in answer.json()["predictions"]:
    print(f"{{top['probability']:.1%}} {{top['category']}}")"""

Outcome = Answered | Comparison | list[Row] | Failure


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
    if question and "outcome" not in st.session_state:
        asking = Asking(question, backend, placeholder, settings.wake_timeout_s)
        found = _outcome(asking, choice)
        st.session_state.outcome = found
        _remember(question, found)
        if choice and _is_news(choice, found):
            expire_models()
            st.rerun()
    outcome: Outcome | None = st.session_state.get("outcome")
    if outcome is None:
        return
    with placeholder.container():
        _show(question, outcome)
        if isinstance(outcome, Answered) and outcome.answer.predictions:
            model = outcome.answer.model if choice else None
            explains = settings.explain == "1" and not outcome.answer.explanation
            _offer_more(question[0], backend.predict_address(model), explains=explains)
        if choice and choice.compares and isinstance(outcome, list):
            st.markdown(say("Many pictures go to one model, the first; compare one at a time."))


def _outcome(asking: Asking, choice: Choice | None) -> Outcome:
    try:
        models = _models_to_ask(asking, choice)
        asking.model = models[0].id if models else None
        if len(asking.pictures) > 1:
            return classify_batch(asking)
        if choice and choice.compares:
            return compare(asking, models)
        asking.place.html(markup.waiting(say(LOOKING)))
        predict = partial(asking.backend.predict, asking.pictures[0], asking.model)
        return asking.patiently(partial(predict, explain=st.session_state.get("explain", False)))
    except BackendError as exc:
        return explained(exc)


def _models_to_ask(asking: Asking, choice: Choice | None) -> list[KnownModel]:
    """Return the models to ask, none where the backend has only one.

    The first is the one for a question that goes to one model. BackendError where it is not known
    yet which models there are, and the backend does not say.
    """
    if choice is None:
        return []
    if choice.model and not choice.compares:
        return [choice.known(choice.model)]
    known = list(choice.models.values())
    return known or [KnownModel(name) for name in asking.patiently(asking.backend.models)]


def _remember(question: Sequence[Picture], outcome: Outcome) -> None:
    if isinstance(outcome, list):
        remember(*outcome)
        return
    for one in outcome.values() if isinstance(outcome, dict) else [outcome]:
        if isinstance(one, Answered) and not one.answer.explanation:
            remember(Row.of(question[0], one))  # one with a map was asked before, without


def _is_news(choice: Choice, outcome: Outcome) -> bool:
    """Return whether the models are not as the page believed them to be."""
    match outcome:
        case Answered(answer):
            return choice.known(answer.model).status != "ready"
        case Failure():
            return outcome.again
        case dict():
            return True  # every model was used
    return not choice.models


def _show(question: Sequence[Picture], outcome: Outcome) -> None:
    match outcome:
        case Answered():
            _show_answered(outcome)
        case Failure():
            st.error(plain(outcome.words()))
        case dict():
            show_comparison(outcome, question[0])
        case list():
            show_table(outcome)
    outcomes = outcome.values() if isinstance(outcome, dict) else [outcome]
    if any(isinstance(one, Failure) and one.again for one in outcomes):
        st.button(say("Try again"), on_click=forget_outcome)


def _show_answered(answered: Answered) -> None:
    answer = answered.answer
    sentence = answer_sentence(answer.category, answer.predictions)
    if not answer.predictions:  # a backend that says no more
        st.html(markup.answer(markup.heading(sentence, sentence)))
        return
    announced = f"{sentence}, {percent(answer.predictions[0].probability)}"
    alt = say("The picture as the model saw it, probably {what}", what=answer.category)
    picture = markup.picture(answered.thumbnail, alt, answer.explanation or ())
    bars = markup.bars(answer.predictions)
    computed = f" ({answer.precision})" if answer.precision else ""
    st.html(
        markup.answer(
            markup.heading(sentence, announced),
            f'<div class="two"><div>{picture}</div><div>{bars}</div></div>',
            markup.incomplete(answer),
            markup.small(say("Model: {model}", model=answer.model) + computed, times(answered)),
        )
    )


def times(answered: Answered) -> str:
    """Return how long each part took, in one line."""
    timings = answered.answer.timings_ms
    parts = ("fetch", "decode", "preprocess", "inference", "total")
    taken = {part: getattr(timings, part) for part in parts}
    taken["round trip"] = answered.round_trip_ms
    return " · ".join(f"{say(part)} {duration(ms)}" for part, ms in taken.items())


def _offer_more(picture: Picture, url: str, *, explains: bool) -> None:
    """Draw what can be done with an answer: see where the model looked, share it, ask by code.

    ``url`` is where a program asks.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        if explains:
            again = {"explain": True}
            st.button(say("Where did it look?"), on_click=forget_outcome, kwargs=again)
        if picture.link:
            st.html(markup.copy_button(say("Copy the link to this answer")))
    if picture.is_data:  # far too long for a line
        return
    by_curl = f"-F image=@{shlex.quote(picture.name)}"
    by_python = f'files={{"image": open({picture.name!r}, "rb")}}'
    if picture.url:
        by_curl = f"--json {shlex.quote(json.dumps({'url': picture.url}))}"
        by_python = f'json={{"url": {picture.url!r}}}'
    curl = f"curl {shlex.quote(url)} {by_curl}"
    pieces = ""
    for piece in (curl, PROGRAM.format(url=url, sent=by_python)):
        copy = markup.copy_button(say("Copy"), piece)
        pieces += f"<pre><code>{escape(piece)}</code></pre>{copy}"
    st.html(markup.fold(say("Use it from code"), pieces))
