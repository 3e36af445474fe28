"""A backend with several models for tests of pages, and a page that asks it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from imgserve.contract import ModelState, PredictAnswer
from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend.client import BackendClient
from tests.unit.page_driver import answer

SMALL = ModelState("small", "Small-Net", 4_652_008, 75.1, 224, 1, "ready")
LARGE = ModelState("large", "Large Net", 138_357_544, 71.592, 224, 1, "absent")
THIRD = ModelState("third", "Third", 6_092_072, 77.6, 260, None, "loading")
GONE = RequestRefused("the backend of large cannot be reached", "backend-unreachable", 502)


class Models:
    """A backend with several models: how they are, what they answer, and what it was asked."""

    def __init__(self) -> None:
        self.states: dict[str, ModelState | BackendError] = {
            each.id: each for each in (SMALL, LARGE, msgspec.structs.replace(THIRD, state="ready"))
        }
        self.list_failure: BackendError | None = None
        self.answers: dict[str | None, Any] = {}
        self.asked: list[tuple[Any, str | None]] = []
        self.looked_at: list[str] = []
        self.url = ""

    def models(self) -> list[str]:
        """Return the ids, or raise what a test chose."""
        self.looked_at.append("list")
        if self.list_failure:
            raise self.list_failure
        return list(self.states)

    def model(self, model: str) -> ModelState:
        """Return a model's state, or raise what a test chose."""
        self.looked_at.append(model)
        state = self.states[model]
        if isinstance(state, BackendError):
            raise state
        return state

    def predict(self, picture: Any, model: str | None) -> PredictAnswer:
        """Return or raise what a test chose, by default an answer that names the model."""
        self.asked.append((picture, model))
        reply = self.answers.get(model, answer(model=model))
        reply = reply.pop(0) if isinstance(reply, list) else reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, PredictAnswer)
        return reply


def stand_between(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Return what answers pages from now on in the place of a backend, or of the gateway."""
    stand_in = Models()

    def list_models(client: BackendClient) -> list[str]:
        stand_in.url = client.base_url
        return stand_in.models()

    def predict(_: BackendClient, picture: Any, *, model: str | None, **__: object) -> Any:
        return stand_in.predict(picture, model)

    monkeypatch.setattr(BackendClient, "models", list_models)
    monkeypatch.setattr(BackendClient, "model", lambda _, model: stand_in.model(model))
    monkeypatch.setattr(BackendClient, "predict_url", predict)
    monkeypatch.setattr(BackendClient, "predict_image", predict)
    monkeypatch.setenv("SERVING_URL", "http://backend.test")
    monkeypatch.setenv("API_GATEWAY", "http://gateway.test")
    monkeypatch.setenv("WAKE_TIMEOUT_S", "0.01")
    return stand_in


def new_page(root: Path, component: str = "frontend_v2") -> AppTest:
    """Return the page as a new person opens it."""
    return AppTest.from_file(str(root / component / "app.py"), default_timeout=20)


def pick(app: AppTest, model: str) -> AppTest:
    """Choose a model as a person does."""
    return app.radio(key="model").set_value(model).run()


def captions(app: AppTest) -> dict[str, str]:
    """Return what stands below each name in the picker."""
    proto = app.radio(key="model").proto
    return dict(zip(proto.options, proto.captions, strict=True))
