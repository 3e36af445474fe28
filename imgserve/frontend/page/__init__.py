"""The parts of a frontend's page; a frontend's ``app.py`` puts them together.

A part draws one thing and returns. What the person asked and was told is kept in
``st.session_state``, because Streamlit runs the script again at every interaction.
"""

from imgserve.frontend.page.answer import show_answer
from imgserve.frontend.page.choosing import choose_picture, offer_samples
from imgserve.frontend.page.frame import read_settings, show_footer, show_header
from imgserve.frontend.page.picking import choose_model

__all__ = [
    "choose_model",
    "choose_picture",
    "offer_samples",
    "read_settings",
    "show_answer",
    "show_footer",
    "show_header",
]
