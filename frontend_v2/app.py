"""Page of v2: choose who answers, one model or all of them; the choice is this person's alone."""

import os

import streamlit as st

from imgserve.frontend import page
from imgserve.frontend.client import connect

page.show_header()
settings = page.read_settings(os.environ)
backend = connect(settings.backend_url, settings)

models = st.container()
page.choose_picture(settings.max_image_bytes)
answer = st.empty()
page.offer_samples()
page.show_footer()
choice = page.choose_model(models, backend)
page.show_answer(answer, backend, choice, wake_timeout_s=settings.wake_timeout_s)
