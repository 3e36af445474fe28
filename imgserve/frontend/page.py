"""The parts of a frontend's page; a frontend's ``app.py`` puts them together with the others."""

import base64
import io
import json
import logging
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence

import streamlit as st
from msgspec.structs import asdict
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import FORMATS
from imgserve.errors import InvalidSetting
from imgserve.frontend.asking import Asking
from imgserve.frontend.client import Answered, BackendClient, Picture
from imgserve.frontend.messages import (
    DESCRIPTION,
    Failure,
    answer_sentence,
    duration,
    html,
    language,
    number,
    say,
)
from imgserve.frontend.model_choice import ALL, KnownModel, Models, expire_models
from imgserve.frontend.outcomes import Comparison, Row, download, show_comparison, show_table
from imgserve.frontend.question import current_question, forget_outcome
from imgserve.settings import FrontendSettings
from imgserve.units import mebibytes

THIRDS = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
PROGRAM = """import requests

answer = requests.post({url!r}, {sent}, timeout=60)
for top in answer.json()["predictions"]:
    print(f"{{top['probability']:.1%}} {{top['category']}}")"""

Outcome = Answered | Comparison | list[Row] | Failure

log = logging.getLogger(__name__)


def read_settings(environ: Mapping[str, str]) -> FrontendSettings:
    """Return the settings; where one is wrong, say so in the log and stop the page."""
    try:
        return FrontendSettings.from_environ(environ)
    except InvalidSetting as exc:
        log.error("%s", exc)
        words = "This page is not set up correctly. Its log says which setting to change."
        st.html(html.alert(say(words)))
        st.stop()


def show_header(title: str) -> None:
    st.set_page_config(page_title=title, page_icon="🐾", layout="centered")
    other, name = ("en", "English") if language() == "fr" else ("fr", "Français")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(say(title), anchor=False)
        st.button(name, key="other_language", type="tertiary", on_click=_speak, args=(other,))
    st.html(html.introduction(say(DESCRIPTION)))


def _speak(chosen: str) -> None:
    st.session_state.language = st.query_params["lang"] = chosen


def show_footer(limit_bytes: int) -> None:
    st.html(html.footer(", ".join(FORMATS), number(mebibytes(limit_bytes))))


def show_answer(
    placeholder: DeltaGenerator,
    backend: BackendClient,
    settings: FrontendSettings,
    models: Models | None = None,
) -> None:
    """Draw the answer to what was asked, asking the backend first where that was not done yet.

    Draw the rest of the page before, as this may take long; ``placeholder`` is an ``st.empty()``.
    ``models`` says which of the backend's is asked, where it has several.
    """
    question = current_question()
    if question and "outcome" not in st.session_state:
        asking = Asking(question, backend, placeholder, settings.wake_timeout_s)
        found = st.session_state.outcome = _outcome(asking, models)
        _remember(question, found)
        if models and _is_news(models, found):
            expire_models()
            st.rerun()
    outcome: Outcome | None = st.session_state.get("outcome")
    if outcome is None:
        return
    with placeholder.container():
        _show(question, outcome)
        if isinstance(outcome, Answered) and outcome.answer.predictions:
            model = outcome.answer.model if models else None
            explains = settings.explain == "1" and not outcome.answer.explanation
            _offer_more(question[0], backend.predict_address(model), explains=explains)
        if models and models.chosen == ALL and isinstance(outcome, list):
            st.markdown(say("Many pictures go to one model, the first; compare one at a time."))


def _outcome(asking: Asking, models: Models | None) -> Outcome:
    asked = _models_to_ask(asking, models)
    if isinstance(asked, Failure):
        return asked
    asking.model = asked[0].id if asked else None
    if len(asking.pictures) > 1:
        return asking.ask_about_many()
    if models and models.chosen == ALL:
        return asking.compare(asked)
    return asking.ask(explain=st.session_state.get("explain", False))


def _models_to_ask(asking: Asking, models: Models | None) -> list[KnownModel] | Failure:
    """Return the models to ask, none where the backend has only one.

    The first is the one for a question that goes to one model. Failure where it is not known yet
    which models there are, and the backend does not say.
    """
    if models is None:
        return []
    if models.chosen and models.chosen != ALL:
        return [models.known(models.chosen)]
    if models.by_id:
        return list(models.by_id.values())
    names = asking.ask_one(asking.backend.models)
    return names if isinstance(names, Failure) else list(map(KnownModel, names))


def _is_news(models: Models, outcome: Outcome) -> bool:
    """Return whether the models are not as the page believed them to be."""
    match outcome:
        case Answered(answer):
            return models.known(answer.model).status != "ready"
        case Failure():
            return outcome.again
        case dict():
            return True  # every model was used
    return not models.by_id


def _show(question: Sequence[Picture], outcome: Outcome) -> None:
    match outcome:
        case Answered(answer):
            sentence = answer_sentence(answer.category, answer.predictions)
            image = matters = ""
            if answer.explanation:
                part = say(_part_that_matters(answer.explanation))
                matters = say("It depends most on the {part}.", part=part)
                image = _explanation_map(answer.explanation)
            st.html(html.answered(sentence, outcome, times(outcome), image, matters))
        case Failure():
            st.html(html.alert(outcome.words()))
        case dict():
            show_comparison(outcome, question[0])
        case list():
            show_table(outcome)
    outcomes = outcome.values() if isinstance(outcome, dict) else [outcome]
    if any(isinstance(one, Failure) and one.again for one in outcomes):
        st.button(say("Try again"), on_click=forget_outcome)


def _explanation_map(explanation: Sequence[Sequence[float]]) -> str:
    """Return an image of one pixel for each place, which the browser makes large and smooth."""
    image = Image.new("RGBA", (len(explanation[0]), len(explanation)))
    image.putdata([(255, 196, 0, round(200 * share)) for row in explanation for share in row])
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _part_that_matters(explanation: Sequence[Sequence[float]]) -> str:
    """Return which part of the picture matters most: the ninth with the greatest share."""
    shares: dict[str, float] = defaultdict(float)
    for y, row in enumerate(explanation):
        for x, share in enumerate(row):
            shares[THIRDS[3 * y // len(explanation)][3 * x // len(row)]] += share
    return max(shares, key=shares.__getitem__)


def times(answered: Answered) -> str:
    taken = asdict(answered.answer.timings_ms) | {"round trip": answered.round_trip_ms}
    return " · ".join(f"{say(part)} {duration(ms)}" for part, ms in taken.items())


def _offer_more(picture: Picture, url: str, *, explains: bool) -> None:
    """Draw what can be done with an answer: explain it, share it, ask by code at ``url``."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if explains:
            st.button(say("Where did it look?"), on_click=forget_outcome, kwargs={"explain": True})
        if picture.link:
            st.html(html.copy_button(say("Copy the link to this answer")))
    if picture.is_data:  # far too long for a line
        return
    by_curl = f"-F image=@{shlex.quote(picture.name)}"
    by_python = f'files={{"image": open({picture.name!r}, "rb")}}'
    if picture.url:
        by_curl = f"--json {shlex.quote(json.dumps({'url': picture.url}))}"
        by_python = f'json={{"url": {picture.url!r}}}'
    curl = f"curl {shlex.quote(url)} {by_curl}"
    st.html(html.code([curl, PROGRAM.format(url=url, sent=by_python)]))


def _remember(question: Sequence[Picture], outcome: Outcome) -> None:
    """Add what came of pictures to this person's memory, which ends with their visit."""
    rows: list[Row] = st.session_state.get("remembered", [])
    if isinstance(outcome, list):
        rows = rows + outcome
    else:
        outcomes = outcome.values() if isinstance(outcome, dict) else [outcome]
        answered = (one for one in outcomes if isinstance(one, Answered))
        # One with a map was asked before, without.
        rows = rows + [Row.of(question[0], one) for one in answered if not one.answer.explanation]
    st.session_state.remembered = rows[-200:]


def show_remembered(place: DeltaGenerator) -> None:
    """Draw the pictures so far as a strip, the newest first, from the second on."""
    rows: list[Row] = st.session_state.get("remembered", [])
    if len(rows) < 2:  # noqa: PLR2004 the only one is the answer itself
        return
    with place:
        st.html(html.strip(rows[::-1]))
        with st.container(horizontal=True):
            download(say("Download all as CSV"), rows, "answers_so_far")
            st.button(say("Clear"), on_click=lambda: st.session_state.pop("remembered", None))
