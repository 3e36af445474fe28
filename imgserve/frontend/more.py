"""What to do with an answer: see where the model looked, share it, ask the same from a program."""

import json
import shlex

import streamlit as st

from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient
from imgserve.frontend.language import say
from imgserve.frontend.predict import Answered
from imgserve.frontend.session import LinkedPicture, Picture, ask_where

PROGRAM = """import requests

answer = requests.post({url!r}, {sent}, timeout=60)
for top in answer.json()["predictions"]:
    print(f"{{top['probability']:.1%}} {{top['category']}}")"""


def offer_more(
    picture: Picture, answered: Answered, backend: BackendClient, *, chosen: bool, explains: bool
) -> None:
    """Draw what can be done with an answer.

    ``chosen`` says whether there was a choice of models, ``explains`` whether the backend says
    where it looked.
    """
    answer = answered.answer
    if not answer.predictions:  # a backend that says no more
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if explains and not answer.explanation:
            st.button(say("Where did it look?"), on_click=ask_where)
        if picture.link:
            markup.draw(markup.copy_button(say("Copy the link to this answer")))
    url = backend.predict_address(answer.model if chosen else None)
    if not isinstance(picture, LinkedPicture) or not picture.is_data:  # far too long for a line
        lines = (curl_line(picture, url), program(picture, url))
        markup.draw(markup.code(say("Use it from code"), *lines))


def curl_line(picture: Picture, url: str) -> str:
    """Return a command that asks the same."""
    sent = f"-F image=@{shlex.quote(picture.name)}"
    if isinstance(picture, LinkedPicture):
        sent = f"--json {shlex.quote(json.dumps({'url': picture.url}))}"
    return f"curl {shlex.quote(url)} {sent}"


def program(picture: Picture, url: str) -> str:
    """Return five lines of Python that ask the same."""
    sent = f'files={{"image": open({picture.name!r}, "rb")}}'
    if isinstance(picture, LinkedPicture):
        sent = f'json={{"url": {picture.url!r}}}'
    return PROGRAM.format(url=url, sent=sent)
