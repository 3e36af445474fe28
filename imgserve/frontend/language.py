"""English or French: a sentence stands in English where it is said, and beside it in FRENCH."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from imgserve.frontend.french import FRENCH

LANGUAGES = {"en": "English", "fr": "Français"}
THIN_SPACE = "\u202f"  # in French before % and units' signs; no line ends at it


def language() -> str:
    """Return the person's choice, else the link's, else the browser's; English without a page."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    wanted = st.session_state.get("language") or st.query_params.get("lang") or st.context.locale
    return "fr" if (wanted or "").lower().startswith("fr") else "en"


def say(english: str, **values: object) -> str:
    """Return a sentence in the person's language, with these values in their places."""
    sentence = FRENCH.get(english, english) if language() == "fr" else english
    return sentence.format(**values) if values else sentence


def number(text: str) -> str:
    """Return a number written the English way as the person's language writes it."""
    if language() != "fr":
        return text
    return text.replace(".", ",").replace("%", f"{THIN_SPACE}%")


def offer_language() -> None:
    """Draw a way to the other language."""
    other = "en" if language() == "fr" else "fr"
    st.button(
        LANGUAGES[other], key="other_language", type="tertiary", on_click=_choose, args=(other,)
    )


def _choose(chosen: str) -> None:
    st.session_state.language = st.query_params["lang"] = chosen
