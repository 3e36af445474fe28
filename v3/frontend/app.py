"""Page of v3: as v2, of models that each have a service of their own behind one gateway."""

import os

import streamlit as st

from imgserve.frontend import model_choice, page, question
from imgserve.frontend.client import connect

settings = page.read_settings(os.environ)
page.show_header(settings.page_title)
backend = connect(settings.api_gateway, settings)

question.choose_picture(settings.samples_dir, settings.max_image_bytes)
models = st.container()
answer = st.empty()
question.offer_samples(settings.samples_dir)
remembered = st.empty()
page.show_footer(settings.max_image_bytes)
choice = model_choice.choose_model(models, backend)
page.show_answer(answer, backend, settings, choice)
page.show_remembered(remembered.container())
