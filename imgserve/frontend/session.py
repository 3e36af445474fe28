"""What a person can ask about, and the memory of what was asked and answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from imgserve.contract import PredictAnswer
from imgserve.frontend.client import BackendClient

TOP = 5  # classes shown with an answer
SAMPLES_DIR = Path(__file__).parents[1] / "samples"
SAMPLES: Mapping[str, Path] = {
    "Cat": SAMPLES_DIR / "cat.jpg",
    "Espresso": SAMPLES_DIR / "espresso.jpg",
    "Rocket": SAMPLES_DIR / "rocket.jpg",
}


@dataclass(frozen=True)
class LinkedPicture:
    """A picture somewhere on the web; only the backend ever fetches it."""

    url: str

    def classify(
        self, backend: BackendClient, model: str | None = None, top_k: int = TOP
    ) -> PredictAnswer:
        """Return what a model of the backend says about it."""
        return backend.predict_url(self.url, model=model, top_k=top_k)


@dataclass(frozen=True)
class GivenPicture:
    """A picture that the person, or this page, has at hand."""

    data: bytes
    content_type: str

    def classify(
        self, backend: BackendClient, model: str | None = None, top_k: int = TOP
    ) -> PredictAnswer:
        """Return what a model of the backend says about it."""
        return backend.predict_image(
            self.data, content_type=self.content_type, model=model, top_k=top_k
        )


@dataclass(frozen=True)
class ManyLinks:
    """Pictures to classify one after the other."""

    urls: tuple[str, ...]


Picture = LinkedPicture | GivenPicture
Question = Picture | ManyLinks


def ask(question: Question) -> None:
    """Remember the question, forget the last answer, and let the address bar follow."""
    st.session_state.question = question
    st.session_state.pop("outcome", None)
    st.session_state.linked = question.url if isinstance(question, LinkedPicture) else None
    if isinstance(question, LinkedPicture):
        _link(question.url)
    else:
        st.query_params.pop("url", None)


def _link(url: str) -> None:
    """Let the address bar name the picture, and who answers, unless it does: a link was followed.

    In one step, as the browser's way back leads through each of them.
    """
    if url != st.query_params.get("url"):
        models = {"model": model} if (model := st.session_state.get("answering")) else {}
        st.session_state.linked_model = model
        st.query_params.update(url=url, **models)


def ask_linked() -> None:
    """Ask about the picture named by ``?url=``, once: the page was opened by a link to a result."""
    url = st.query_params.get("url", "").strip()
    if url and url != st.session_state.get("linked"):
        st.session_state.url = url
        ask(LinkedPicture(url))


def asked() -> Question | None:
    """Return the question that the page is about."""
    question: Question | None = st.session_state.get("question")
    return question


def forget_question() -> None:
    """Go back to the empty page."""
    st.session_state.pop("question", None)
    st.session_state.pop("outcome", None)


def ask_again() -> None:
    """Forget the answer, so that the same question is asked once more."""
    st.session_state.pop("outcome", None)
