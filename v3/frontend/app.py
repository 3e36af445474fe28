"""Page of v3: as v2, of models that each have a service of their own behind one gateway."""

import os

import streamlit as st

from imgserve.frontend import page
from imgserve.frontend.client import connect

settings = page.read_settings(os.environ)
page.show_header(settings.page_title)
backend = connect(settings.api_gateway, settings)

models = st.container()
page.choose_picture(settings.max_image_bytes)
answer = st.empty()
page.offer_samples(settings.samples_dir)
page.show_footer()
choice = page.choose_model(models, backend)
page.show_answer(answer, backend, choice, wake_timeout_s=settings.wake_timeout_s)
