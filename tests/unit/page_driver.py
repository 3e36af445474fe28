"""What tests of pages share: a backend that answers as a test says, and a person's ways."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from imgserve.contract import ModelState, PredictAnswer, Prediction, Timings
from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend.client import BackendClient

URL = "https://pictures.test/cat.png"
THUMBNAIL = "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
SMALL = ModelState("small", "Small-Net", 4_652_008, 75.1, 224, 1, "ready")
LARGE = ModelState("large", "Large Net", 138_357_544, 71.592, 224, 1, "absent")
THIRD = ModelState("third", "Third", 6_092_072, 77.6, 260, None, "ready")
GONE = RequestRefused("the backend of large cannot be reached", "backend-unreachable", 502)


def answer(category: str = "tabby", probability: float = 0.75, **given: Any) -> PredictAnswer:
    """Return an answer whose best class is this one."""
    predictions = [Prediction(category, 281, probability), Prediction("lynx", 287, 0.0001)]
    timings = Timings(1, 2, 3, 4, 1234)
    usual = PredictAnswer(
        category=category,
        predictions=predictions,
        timings_ms=timings,
        model="resnet152",
        thumbnail=THUMBNAIL,
    )
    return msgspec.structs.replace(usual, **given)


class Backend:
    """A backend, or gateway: how its models are, what they answer, and what it was asked.

    Attributes:
        states: of the models by their id, or why there is none.
        list_failure: why there is no list of models.
        answers: an answer or error, or several in turn, by the picture or the model.
        usual: what is answered to all other questions, if not an answer that names the model.
        asked: the pictures, and of which model.
        looked_at: ids of the models, and "list".
        url: that the page was told.
    """

    def __init__(self) -> None:
        self.states: dict[str, ModelState | BackendError] = {
            state.id: state for state in (SMALL, LARGE, THIRD)
        }
        self.list_failure: BackendError | None = None
        self.answers: dict[Any, Any] = {}
        self.usual: Any = None
        self.asked: list[tuple[Any, str | None]] = []
        self.looked_at: list[str] = []
        self.url = ""

    @property
    def pictures(self) -> list[Any]:
        return [picture for picture, _ in self.asked]

    def models(self, url: str) -> list[str]:
        self.url = url
        self.looked_at.append("list")
        if self.list_failure:
            raise self.list_failure
        return list(self.states)

    def model(self, model: str) -> ModelState:
        self.looked_at.append(model)
        state = self.states[model]
        if isinstance(state, BackendError):
            raise state
        return state

    def predict(self, picture: Any, *, model: str | None, **_: object) -> PredictAnswer:
        self.asked.append((picture, model))
        usual = self.usual or answer(model=model or "resnet152")
        reply = self.answers.get(picture, self.answers.get(model, usual))
        reply = reply.pop(0) if isinstance(reply, list) else reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, PredictAnswer)
        return reply


def stand_between(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Return what answers pages from now on in the place of a backend, or of the gateway."""
    backend = Backend()
    monkeypatch.setattr(BackendClient, "models", lambda client: backend.models(client.base_url))
    monkeypatch.setattr(BackendClient, "model", lambda _, model: backend.model(model))
    for name in ("predict_url", "predict_image"):
        monkeypatch.setattr(BackendClient, name, lambda _, *a, **kw: backend.predict(*a, **kw))
    monkeypatch.setenv("SERVING_URL", "http://backend.test")
    monkeypatch.setenv("API_GATEWAY", "http://gateway.test")
    monkeypatch.setenv("WAKE_TIMEOUT_S", "0.01")
    return backend


class Page:
    """A page as a new person opens it, what they do there, and the backend behind it.

    What is done returns every word that is on the page then.
    """

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, backend: Backend | None = None
    ) -> None:
        self.patch = patch
        self.app = AppTest.from_file(str(folder / "app.py"), default_timeout=20)
        self.backend = backend or stand_between(patch)

    @property
    def query(self) -> dict[str, Any]:
        """Return what stands in the address bar behind the question mark."""
        return self.app.query_params

    def run(self) -> str:
        self.app.run()
        return self.words()

    def submit(self, url: str) -> str:
        self._opened().text_input(key="url").input(url)
        return self.click("Classify")

    def submit_batch(self, lines: str) -> str:
        self._opened().text_area(key="urls").input(lines)
        return self.click("Classify all")

    def upload(self, data: bytes | None, name: str = "cat.png", kind: str = "image/png") -> str:
        """Choose a file; without data, remove it."""
        file = None if data is None else (name, data, kind)
        self._opened().file_uploader(key="upload").set_value(file).run()
        return self.words()

    def pick(self, model: str) -> str:
        self._opened().radio(key="model").set_value(model).run()
        return self.words()

    def click(self, label: str) -> str:
        next(button for button in self._opened().button if button.label == label).click().run()
        return self.words()

    def words(self) -> str:
        """Return every word on the page, and check that nothing went wrong unseen."""
        app = self.app
        assert not app.exception
        kinds = (app.title, app.header, app.subheader, app.markdown, app.caption, app.error)
        return "\n".join(element.value for kind in (*kinds, app.warning) for element in kind)

    @property
    def header(self) -> str:
        return str(self.app.header[0].value)

    @property
    def picked(self) -> str:
        return str(self.app.radio(key="model").value)

    def captions(self) -> dict[str, str]:
        """Return what stands below each name in the picker."""
        proto = self.app.radio(key="model").proto
        return dict(zip(proto.options, proto.captions, strict=True))

    def elements(self, kind: str) -> list[Any]:
        """Return the messages of elements that the test runner has no class for."""
        return [element.proto for element in self.app.get(kind)]

    def _opened(self) -> AppTest:
        return self.app if self.app.title else self.app.run()
