"""Which models there are and whether they can answer, as far as this person's page knows."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum

import streamlit as st

from imgserve.contract import ModelState
from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient
from imgserve.frontend.predict import explained

KEPT_S = 30.0  # every look at a v3 model wakes its container, so not at every click
LOOK_EVERY_S = 3  # while something is loading, or away
SLOWEST_LOOK_S = 48.0
AT_ONCE = 8
COMPARED_CLASSES = 50  # so that a class one model names has a figure from the others too


class Status(Enum):
    """Whether a model can answer, as the page words it."""

    READY = "ready"
    LOADING = "loading"
    ASLEEP = "asleep"
    UNAVAILABLE = "not available"
    AWAY = "away"


PASSING = {Status.LOADING, Status.AWAY}


@dataclass(frozen=True)
class KnownModel:
    id: str  # the backend's name of it
    facts: ModelState | None = None  # what its backend said, last time it did
    away: str = ""  # why its backend does not answer, if it does not

    @property
    def title(self) -> str:
        """Return its name for people."""
        return self.facts.title if self.facts else self.id

    @property
    def status(self) -> Status:
        """Return whether it can answer."""
        if self.away or not self.facts:
            return Status.AWAY
        if self.facts.state == "absent":
            return Status.UNAVAILABLE if self.facts.detail else Status.ASLEEP
        return Status.READY if self.facts.state == "ready" else Status.LOADING

    @property
    def compared_classes(self) -> int | None:
        """Return how many of its classes to ask for in a comparison, where that is known."""
        classes = self.facts and self.facts.classes
        return min(COMPARED_CLASSES, classes) if classes else None

    @property
    def reason(self) -> str:
        """Return why it cannot answer, where it cannot."""
        return self.away or (self.facts and self.facts.detail) or ""


@dataclass(frozen=True)
class KnownModels:
    """All of them, the default first; with a problem, as they were when there was none."""

    models: tuple[KnownModel, ...] = ()  # may be empty while there is a problem
    problem: str = ""  # why the list could not be loaded this time
    looked_at_s: float = 0.0  # on the clock of time.monotonic
    unchanged: int = 0  # how many looks in a row have found nothing new

    @property
    def unsettled(self) -> bool:
        """Return whether it may soon be better by itself."""
        return bool(self.problem) or any(model.status in PASSING for model in self.models)

    @property
    def next_look_s(self) -> float:
        """Return when to look again at what is unsettled: soon at first, then less often."""
        return self.looked_at_s + min(LOOK_EVERY_S * (1 + self.unchanged), SLOWEST_LOOK_S)


def known_models(backend: BackendClient) -> KnownModels:
    """Return the models, asking the backend where that was not done lately."""
    known: KnownModels | None = st.session_state.get("models")
    if known is None or time.monotonic() > known.looked_at_s + KEPT_S:
        known = st.session_state.models = _look(backend, known or KnownModels())
    return known


def expire_models() -> None:
    """Let the next run of the page ask the backend again."""
    if "models" in st.session_state:
        st.session_state.models = replace(st.session_state.models, looked_at_s=float("-inf"))


@st.fragment(run_every=LOOK_EVERY_S)
def watch_models(backend: BackendClient) -> None:
    """Look at what is unsettled every now and then, and draw the page again when it changes."""
    before: KnownModels = st.session_state.models
    if time.monotonic() >= before.next_look_s:
        settled = [model for model in before.models if model.status not in PASSING]
        now = st.session_state.models = _look(backend, before, kept=settled)
        if not now.unchanged:
            st.rerun()


def _look(
    backend: BackendClient, before: KnownModels, *, kept: Sequence[KnownModel] = ()
) -> KnownModels:
    """Return the models as they are now, without asking about those that are ``kept``.

    What was known before stays known of a model that does not answer.
    """
    models, problem = before.models, ""
    last = {model.id: model for model in models}

    def now(model_id: str) -> KnownModel:
        model = last.get(model_id, KnownModel(model_id))
        return model if model in kept else _look_at(backend, model)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            models = tuple(pool.map(now, backend.models()))
    except BackendError as exc:
        problem = explained(exc).sentence
    same = (models, problem) == (before.models, before.problem)
    return KnownModels(models, problem, time.monotonic(), before.unchanged + 1 if same else 0)


def _look_at(backend: BackendClient, last: KnownModel) -> KnownModel:
    try:
        return KnownModel(last.id, backend.model(last.id))
    except BackendError as exc:
        return replace(last, away=explained(exc).sentence)
