"""Which models there are, whether they can answer, and which of them a person has chosen.

What is known is kept in their session, so is the choice, which is in the address too.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import ModelState
from imgserve.errors import BackendError
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure, explained, html, number, say
from imgserve.frontend.question import current_question, forget_outcome, link_now

KEPT_S = 30.0  # every look at a v3 model wakes its container, so not at every click
LOOK_EVERY_S = 3  # while something is loading, or away
SLOWEST_LOOK_S = 48.0
AT_ONCE = 8
ALL = "all"  # stands for a model's id in the address; no model is called that
NO_LIST = (
    "The list of models cannot be loaded at the moment. It comes back here by itself; "
    "a picture can be asked about meanwhile."
)
NO_SUCH_MODEL = "There is no model {wanted} here: {title} answers."
PASSING = {"loading", "away"}
EXPLANATIONS = {
    "loading": "{title} is loading: it answers in a moment.",
    "not available": "{title} cannot be loaded.",
    "away": "{title} is away.",
}


@dataclass(frozen=True)
class KnownModel:
    id: str  # the backend's name of it
    facts: ModelState | None = None  # what its backend said, last time it did
    away: Failure | None = None  # why its backend does not answer, if it does not

    @property
    def title(self) -> str:
        return self.facts.title if self.facts else self.id

    @property
    def status(self) -> str:
        if self.away or not self.facts:
            return "away"
        if self.facts.state == "absent":
            return "not available" if self.facts.detail else "asleep"
        return self.facts.state

    @property
    def reason(self) -> str:
        if self.away:
            return self.away.reason()
        return (self.facts and self.facts.detail) or ""


@dataclass(frozen=True)
class Models:
    """All of them, the default first; with a problem, as they were when there was none."""

    by_id: dict[str, KnownModel] = field(default_factory=dict)  # none while unknown
    problem: Failure | None = None  # why the list could not be loaded this time
    looked_at_s: float = float("-inf")  # on the clock of time.monotonic
    unchanged: int = 0  # how many looks in a row have found nothing new
    chosen: str | None = None  # whom to ask: an id, ALL, or None while nothing is known or chosen

    @property
    def next_look_s(self) -> float:
        """Return when to look again at what is unsettled: soon at first, then less often."""
        return self.looked_at_s + min(LOOK_EVERY_S * (1 + self.unchanged), SLOWEST_LOOK_S)

    def known(self, model_id: str) -> KnownModel:
        return self.by_id.get(model_id, KnownModel(model_id))


def choose_model(container: DeltaGenerator, backend: BackendClient) -> Models:
    """Draw the models in ``container``, and return them with the choice.

    Draw the rest of the page before, as a backend that is not there takes seconds to say so.
    """
    _follow_link()
    known: Models = st.session_state.get("models", Models())
    if time.monotonic() > known.looked_at_s + KEPT_S:
        with container, st.spinner(say("Asking which models there are …")):
            known = st.session_state.models = _look(backend, known)
    models = list(known.by_id.values())
    wanted: str | None = st.session_state.get("chosen")
    chosen = wanted if wanted == ALL or wanted in known.by_id else next(iter(known.by_id), wanted)
    with container:
        if models:
            _select(models, chosen or "")
        if known.problem:
            st.html(html.alert(say(NO_LIST), "warning"))
        elif wanted and chosen and wanted != chosen:
            no_such = say(NO_SUCH_MODEL, wanted=wanted, title=known.by_id[chosen].title)
            st.html(html.alert(no_such, "warning"))
        _explain(models, chosen)
        if known.problem or any(model.status in PASSING for model in models):
            _watch_models(backend)
    st.session_state.answering = chosen
    return replace(known, chosen=chosen)


def expire_models() -> None:
    """Let the next run of the page ask the backend again."""
    st.session_state.models = replace(st.session_state.models, looked_at_s=float("-inf"))


@st.fragment(run_every=LOOK_EVERY_S)
def _watch_models(backend: BackendClient) -> None:
    """Look at what is unsettled every now and then, and draw the page again when it changes."""
    before: Models = st.session_state.models
    if time.monotonic() >= before.next_look_s:
        now = st.session_state.models = _look(backend, before, anew=False)
        if not now.unchanged:
            st.rerun()


def _look(backend: BackendClient, before: Models, *, anew: bool = True) -> Models:
    """Return the models as they are now; where not ``anew``, ask only about what may have changed.

    What was known before stays known of a model that does not answer.
    """
    models, problem = before.by_id, None

    def now(model_id: str) -> KnownModel:
        last = before.by_id.get(model_id)
        if last and last.status not in PASSING and not anew:
            return last
        try:
            return KnownModel(model_id, backend.model(model_id))
        except BackendError as exc:
            return replace(last or KnownModel(model_id), away=explained(exc))

    try:
        ids = backend.models()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            models = dict(zip(ids, pool.map(now, ids), strict=True))
    except BackendError as exc:
        problem = explained(exc)
    same = (models, problem) == (before.by_id, before.problem)
    return Models(models, problem, time.monotonic(), before.unchanged + 1 if same else 0)


def _follow_link() -> None:
    """Choose the model that ``?model=`` names, the default if none, once for each link followed."""
    linked = st.query_params.get("model")
    if linked != st.session_state.get("linked_model") and (linked or link_now()):
        st.session_state.chosen = st.session_state.linked_model = linked
        forget_outcome()


def _select(models: Sequence[KnownModel], chosen: str) -> None:
    words = {model.id: _in_a_line(model) for model in models} | {ALL: say("Compare all models")}
    st.session_state.model = chosen
    st.selectbox(
        say("Who answers"),
        list(words),
        key="model",
        format_func=words.__getitem__,
        filter_mode=None,  # a list to choose from: a phone's keyboard would cover it
        on_change=_choose,
    )


def _choose() -> None:
    chosen = st.session_state.model
    st.session_state.chosen = st.session_state.linked_model = st.query_params["model"] = chosen
    st.session_state.answering = chosen  # a question may come before the page is drawn again
    forget_outcome()


def _in_a_line(model: KnownModel) -> str:
    """Return a model's name, whether it can answer, how good it is and how large."""
    words = [model.title, say(model.status)]
    if model.facts and model.facts.top1:
        share = number(f"{model.facts.top1:.1f}%")
        words.append(say("{share} right on ImageNet", share=share))
    if model.facts and model.facts.parameters:
        count = number(f"{model.facts.parameters / 1e6:.1f}")
        words.append(say("{count} M parameters", count=count))
    return " · ".join(words)


def _explain(models: Sequence[KnownModel], chosen: str | None) -> None:
    """Say what stands in the way of the chosen model, and of the others."""
    others = [model for model in models if model.id != chosen and model.reason]
    for model in models:
        if model.id == chosen and model.status in EXPLANATIONS and not current_question():
            explanation = say(EXPLANATIONS[model.status], title=model.title)
            st.html(html.alert(f"{explanation} {model.reason}", "warning"))
    if others:
        st.html(html.reasons(others))
