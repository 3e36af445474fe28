"""The parts of a frontend's page; a frontend's ``app.py`` puts them together.

A part draws one thing and returns. What the person asked and was told is kept in
``st.session_state``, because Streamlit runs the script again at every interaction.
"""

from imgserve.frontend.answer import show_answer
from imgserve.frontend.layout import read_settings, show_footer, show_header
from imgserve.frontend.model_picker import choose_model
from imgserve.frontend.picture_input import choose_picture, offer_samples

__all__ = [
    "choose_model",
    "choose_picture",
    "offer_samples",
    "read_settings",
    "show_answer",
    "show_footer",
    "show_header",
]
