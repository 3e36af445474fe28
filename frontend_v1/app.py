"""Page of v1: paste an address, see what the one model makes of the picture."""

import os

import streamlit as st

from imgserve.frontend import page
from imgserve.frontend.client import connect

settings = page.read_settings(os.environ)
page.show_header(settings.page_title)
backend = connect(settings.backend_url, settings)

page.choose_picture(settings.max_image_bytes)
answer = st.empty()
page.offer_samples(settings.samples_dir)
page.show_footer()
page.show_answer(answer, backend, wake_timeout_s=settings.wake_timeout_s)
