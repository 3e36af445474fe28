"""The page's outer parts: settings, title, limits."""

import logging
from collections.abc import Mapping

import streamlit as st

from imgserve.contract import FORMATS
from imgserve.errors import InvalidSetting
from imgserve.settings import FrontendSettings

TITLE = "Animal Classification"
UPLOAD_LIMIT_MIB = 10  # a backend's default MAX_IMAGE_BYTES
LIMITS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}, up to {UPLOAD_LIMIT_MIB} MiB."

log = logging.getLogger(__name__)


def read_settings(environ: Mapping[str, str]) -> FrontendSettings:
    """Return the settings; where one is wrong, say so in the log and stop the page."""
    try:
        return FrontendSettings.from_environ(environ)
    except InvalidSetting as exc:
        log.error("%s", exc)
        st.error("This page is not set up correctly. Its log says which setting to change.")
        st.stop()


def show_header() -> None:
    """Draw the title and what the page is for."""
    st.set_page_config(page_title=TITLE, page_icon="🐾", layout="centered")
    st.title(TITLE, anchor=False)
    st.markdown(
        "Show me a picture, by its address or from your device: I will tell you what is in it."
    )


def show_footer() -> None:
    """Draw what happens to a picture."""
    st.caption(
        "A trained model picks the likeliest of the 1000 classes of ImageNet: animals, plants and "
        "everyday things. It can be wrong. Pictures are not stored."
    )
