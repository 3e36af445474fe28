"""What a person asks about, and the memory of it.

Streamlit runs the page's script again at every interaction, so the question and its outcome are
kept in ``st.session_state``.
"""

from dataclasses import dataclass

import streamlit as st

from imgserve.contract import PredictAnswer
from imgserve.frontend.client import BackendClient


@dataclass(frozen=True)
class LinkedPicture:
    """A picture somewhere on the web; only the backend ever fetches it."""

    url: str

    def classify(
        self, backend: BackendClient, model: str | None, top_k: int | None
    ) -> PredictAnswer:
        return backend.predict_url(self.url, model=model, top_k=top_k)


@dataclass(frozen=True)
class PictureFile:
    """A picture that the person uploaded, or a sample of this page."""

    data: bytes
    content_type: str

    def classify(
        self, backend: BackendClient, model: str | None, top_k: int | None
    ) -> PredictAnswer:
        return backend.predict_image(
            self.data, content_type=self.content_type, model=model, top_k=top_k
        )


@dataclass(frozen=True)
class Batch:
    """Pictures to classify one after the other."""

    urls: tuple[str, ...]


Picture = LinkedPicture | PictureFile
Question = Picture | Batch


def current_question() -> Question | None:
    """Return the question that the page is about."""
    question: Question | None = st.session_state.get("question")
    return question


def ask(question: Question) -> None:
    """Remember the question, forget the last answer, and let the address bar follow."""
    url = question.url if isinstance(question, LinkedPicture) else None
    if url and url[:5].lower() == "data:":
        url = None  # it is the picture itself, too long for the address bar
    st.session_state.question, st.session_state.linked = question, url
    forget_outcome()
    if url is None:
        st.query_params.pop("url", None)
    elif url != st.query_params.get("url"):  # unless a link was followed
        models = {"model": model} if (model := st.session_state.get("answering")) else {}
        st.session_state.linked_model = model
        st.query_params.update(url=url, **models)  # in one step, as the way back has each of them


def follow_link() -> None:
    """Ask about the picture named by ``?url=``, once: the page was opened by a link to a result."""
    url = st.query_params.get("url", "").strip()
    if url and url != st.session_state.get("linked"):
        st.session_state.url = url
        ask(LinkedPicture(url))


def forget_question() -> None:
    """Go back to the empty page."""
    st.session_state.pop("question", None)
    forget_outcome()


def forget_outcome() -> None:
    """Have the same question asked once more."""
    st.session_state.pop("outcome", None)
