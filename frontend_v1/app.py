"""Page of v1: paste an address, see what the one model makes of the picture."""

import os

import streamlit as st

from imgserve.frontend import page, question
from imgserve.frontend.client import connect

settings = page.read_settings(os.environ)
page.show_header(settings.page_title)
backend = connect(settings.backend_url, settings)

question.choose_picture(settings.samples_dir, settings.max_image_bytes)
answer = st.empty()
question.offer_samples(settings.samples_dir)
remembered = st.empty()
page.show_footer(settings.max_image_bytes)
page.show_answer(answer, backend, settings)
page.show_remembered(remembered.container())
