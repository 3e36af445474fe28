"""Page of v2: choose who answers, one model or all of them; the choice is this person's alone."""

import os

import streamlit as st

from imgserve.frontend import model_choice, page, question
from imgserve.frontend.client import connect

settings = page.read_settings(os.environ)
page.show_header(settings.page_title)
backend = connect(settings.backend_url, settings)

question.choose_picture(settings.samples_dir, settings.max_image_bytes)
models = st.container()
answer = st.empty()
question.offer_samples(settings.samples_dir)
remembered = st.empty()
page.show_footer(settings.max_image_bytes)
choice = model_choice.choose_model(models, backend)
page.show_answer(answer, backend, settings, choice)
page.show_remembered(remembered.container())
