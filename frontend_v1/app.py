"""Page of v1: paste an address, see what the one model makes of the picture."""

import os

import streamlit as st

from imgserve.frontend import page
from imgserve.frontend.client import connect

page.show_header()
settings = page.read_settings(os.environ)
backend = connect(settings.backend_url, settings)

page.choose_picture(settings.max_image_bytes)
answer = st.empty()
page.offer_samples()
page.show_footer()
page.show_answer(answer, backend, wake_timeout_s=settings.wake_timeout_s)
