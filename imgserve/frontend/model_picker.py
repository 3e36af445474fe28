"""Where a person says which model answers; kept in their session and in the address."""

from dataclasses import dataclass
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient
from imgserve.frontend.language import number, say
from imgserve.frontend.messages import parameters, plain
from imgserve.frontend.model_list import (
    KnownModel,
    KnownModels,
    Status,
    known_models,
    watch_models,
)
from imgserve.frontend.predict import Patience
from imgserve.frontend.session import current_question, forget_outcome

ALL = "all"  # stands for a model's id in the address; no model is called that
ALL_TITLE = "Compare all models"
NO_LIST = (
    "The list of models cannot be loaded at the moment. It comes back here by itself; "
    "a picture can be asked about meanwhile."
)
NO_SUCH = "There is no model {wanted} here: {title} answers."
EXPLANATIONS = {
    Status.LOADING: "{title} is loading: it answers in a moment.",
    Status.UNAVAILABLE: "{title} cannot be loaded.",
    Status.AWAY: "{title} is away.",
}


@dataclass(frozen=True)
class Choice:
    models: tuple[KnownModel, ...]  # as far as they are known, the default first
    model: str | None  # whom to ask: an id, ALL, or None while nothing is known or chosen

    @property
    def compares(self) -> bool:
        """Return whether every model is to be asked."""
        return self.model == ALL

    def known(self, model_id: str) -> KnownModel:
        """Return what is known of a model."""
        found = (model for model in self.models if model.id == model_id)
        return next(found, KnownModel(model_id))


def choose_model(container: DeltaGenerator, backend: BackendClient) -> Choice:
    """Draw the models in ``container``, and return the choice.

    Draw the rest of the page before, as a backend that is not there takes seconds to say so.
    """
    _follow_link()
    with container, st.spinner(say("Asking which models there are …")):
        known = known_models(backend)
    chosen = _chosen(known)
    with container:
        if known.models:
            _select(known.models, chosen or "")
        _explain(known, chosen)
        if known.unsettled:
            watch_models(backend)
    st.session_state.answering = chosen
    return Choice(known.models, chosen)


def models_to_ask(
    choice: Choice | None, backend: BackendClient, patience: Patience
) -> list[KnownModel]:
    """Return the models to ask, none where the backend has only one.

    The first is the one for a question that goes to one model. BackendError where it is not known
    yet which models there are, and the backend does not say.
    """
    if choice is None:
        return []
    if choice.model and not choice.compares:
        return [choice.known(choice.model)]
    return list(choice.models) or [KnownModel(name) for name in patience.call(backend.models)]


def _follow_link() -> None:
    """Choose the model that ``?model=`` names, once for each link followed."""
    linked = st.query_params.get("model")
    if linked and linked != st.session_state.get("linked_model"):
        st.session_state.chosen = st.session_state.linked_model = linked
        forget_outcome()


def _chosen(known: KnownModels) -> str | None:
    """Return whom to ask: the person's choice where there is such a model, else the default."""
    chosen: str | None = st.session_state.get("chosen")
    ids = [model.id for model in known.models]
    if not ids or chosen == ALL or chosen in ids:
        return chosen
    return ids[0]


def _select(models: tuple[KnownModel, ...], chosen: str) -> None:
    words = {model.id: _in_a_line(model) for model in models} | {ALL: say(ALL_TITLE)}
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
    facts = model.facts
    size = parameters(facts.parameters) if facts and facts.parameters else ""
    quality = ""
    if facts and facts.top1:
        quality = say("{share} right on ImageNet", share=number(f"{facts.top1:.1f}%"))
    return " · ".join(filter(None, (model.title, say(model.status.value), quality, size)))


def _explain(known: KnownModels, chosen: str | None) -> None:
    """Say what stands in the way of the choice, and of the others."""
    wanted = st.session_state.get("chosen")
    if known.problem:
        st.warning(say(NO_LIST))
    elif wanted and wanted != chosen:
        title = known.models[0].title
        st.warning(plain(say(NO_SUCH, wanted=wanted, title=title)))
    for model in known.models:
        if model.id == chosen and model.status in EXPLANATIONS and current_question() is None:
            explanation = say(EXPLANATIONS[model.status], title=model.title)
            st.warning(plain(f"{explanation} {model.reason}"))
    _list_reasons([model for model in known.models if model.reason and model.id != chosen])


def _list_reasons(models: list[KnownModel]) -> None:
    if models:
        reasons = (f"<b>{escape(model.title)}</b>: {escape(model.reason)}" for model in models)
        items = "".join(f"<li>{reason}</li>" for reason in reasons)
        title = say("Models that cannot answer: {count}", count=len(models))
        markup.draw(markup.fold(title, f"<ul>{items}</ul>"))
