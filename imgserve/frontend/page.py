"""The parts of a frontend's page; a frontend's ``app.py`` puts them together.

A part draws one thing and returns.
"""

import logging
from collections.abc import Mapping

import streamlit as st

from imgserve.contract import FORMATS
from imgserve.errors import InvalidSetting
from imgserve.frontend import markup
from imgserve.frontend.answer import show_answer
from imgserve.frontend.messages import DESCRIPTION, language, number, say
from imgserve.frontend.model_choice import choose_model
from imgserve.frontend.question import choose_picture, offer_samples
from imgserve.frontend.table import show_remembered
from imgserve.settings import FrontendSettings
from imgserve.units import mebibytes

__all__ = [
    "choose_model",
    "choose_picture",
    "offer_samples",
    "read_settings",
    "show_answer",
    "show_footer",
    "show_header",
    "show_remembered",
]

log = logging.getLogger(__name__)


def read_settings(environ: Mapping[str, str]) -> FrontendSettings:
    """Return the settings; where one is wrong, say so in the log and stop the page."""
    try:
        return FrontendSettings.from_environ(environ)
    except InvalidSetting as exc:
        log.error("%s", exc)
        st.error(say("This page is not set up correctly. Its log says which setting to change."))
        st.stop()


def show_header(title: str) -> None:
    st.set_page_config(page_title=title, page_icon="🐾", layout="centered")
    other, name = ("en", "English") if language() == "fr" else ("fr", "Français")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(say(title), anchor=False)
        st.button(name, key="other_language", type="tertiary", on_click=_speak, args=(other,))
    st.html(f'<p data-lang="{language()}">{say(DESCRIPTION)}</p>')


def _speak(chosen: str) -> None:
    st.session_state.language = st.query_params["lang"] = chosen


def show_footer(limit_bytes: int) -> None:
    """Draw what is taken, and what happens to a picture."""
    size = number(mebibytes(limit_bytes))
    taken = say("{formats}, up to {size}.", formats=", ".join(FORMATS), size=size)
    words = (
        "A trained model picks the likeliest of the classes that it knows. It can be wrong. "
        "Pictures are not stored."
    )
    st.html(markup.small(taken, say(words)))
