"""What a person asks about, and the memory of it.

Streamlit runs the page's script again at every interaction, so the question and its outcome are
kept in ``st.session_state``.
"""

from dataclasses import dataclass

import streamlit as st

from imgserve.contract import PredictAnswer
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure

LINKED = ("url", "sample")  # what an address bar may say of a question


@dataclass(frozen=True)
class LinkedPicture:
    """A picture somewhere on the web; only the backend ever fetches it."""

    url: str

    @property
    def name(self) -> str:
        """Return how a table calls it."""
        return "data:" if self.is_data else self.url

    @property
    def link(self) -> dict[str, str]:
        """Return what the address bar says of it; a picture itself would be too long for it."""
        return {} if self.is_data else {"url": self.url}

    @property
    def is_data(self) -> bool:
        """Return whether the address is the picture itself."""
        return self.url[:5].lower() == "data:"

    def classify(
        self, backend: BackendClient, model: str | None, top_k: int | None, *, explain: bool
    ) -> PredictAnswer:
        return backend.predict_url(self.url, model=model, top_k=top_k, explain=explain)


@dataclass(frozen=True)
class PictureFile:
    """A picture that the person handed over, or a sample of this page."""

    data: bytes
    content_type: str
    name: str
    sample: str = ""

    @property
    def link(self) -> dict[str, str]:
        """Return what the address bar says of it."""
        return {"sample": self.sample} if self.sample else {}

    def classify(
        self, backend: BackendClient, model: str | None, top_k: int | None, *, explain: bool
    ) -> PredictAnswer:
        return backend.predict_image(
            self.data, content_type=self.content_type, model=model, top_k=top_k, explain=explain
        )


Picture = LinkedPicture | PictureFile


@dataclass(frozen=True)
class Batch:
    """Pictures to classify one after the other."""

    pictures: tuple[Picture, ...]


Question = Picture | Batch


def current_question() -> Question | None:
    """Return the question that the page is about."""
    question: Question | None = st.session_state.get("question")
    return question


def ask(question: Question) -> None:
    """Remember the question, forget the last answer, and let the address bar follow."""
    link = {} if isinstance(question, Batch) else question.link
    st.session_state.question, st.session_state.linked = question, link
    forget_outcome()
    if linked_now() == link:  # a link was followed
        return
    for name in LINKED:
        st.query_params.pop(name, None)
    if link:
        models = {"model": model} if (model := st.session_state.get("answering")) else {}
        st.session_state.linked_model = model
        st.query_params.update(**link, **models)  # in one step, as the way back has each of them


def linked_now() -> dict[str, str]:
    """Return what the address bar says of a question."""
    found = ((name, st.query_params.get(name, "").strip()) for name in LINKED)
    return next(({name: value} for name, value in found if value), {})


def refuse(sentence: str) -> None:
    """Say why what was handed over cannot be taken, in the place of an answer."""
    st.session_state.pop("question", None)
    st.session_state.outcome = Failure(sentence, again=False)


def ask_where() -> None:
    """Have the same question asked once more, with a map of what the answer depends on."""
    forget_outcome()
    st.session_state.explain = True


def forget_outcome() -> None:
    """Have the same question asked once more."""
    st.session_state.pop("outcome", None)
    st.session_state.explain = False
