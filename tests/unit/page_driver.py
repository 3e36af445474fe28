"""What tests of pages share: a backend that answers as a test says, and a person's ways."""

import base64
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from imgserve.contract import ModelState, PredictAnswer, Prediction, Timings
from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend import client
from imgserve.frontend.client import Answered, BackendClient, Picture
from imgserve.settings import FrontendSettings

URL, DOG = "https://pictures.test/cat.png", "https://pictures.test/dog.png"
INCOMPLETE = "The end of this picture's file is missing."
THUMBNAIL = "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()
SMALL = ModelState("small", "Small-Net", 4_652_008, 75.1, 224, 1, "ready", classes=1000)
LARGE = ModelState("large", "Large Net", 138_357_544, 71.592, 224, 1, "absent", classes=3)
THIRD = ModelState("third", "Third", 6_092_072, 77.6, 260, None, "ready")
GONE = RequestRefused("the backend of large cannot be reached", "backend-unreachable", 502)


def answer(category: str = "tabby", probability: float = 0.75, **given: Any) -> PredictAnswer:
    """Return an answer whose best class is this one."""
    predictions = [Prediction(category, 281, probability), Prediction("lynx", 287, 0.0001)]
    usual = {"category": category, "predictions": predictions, "thumbnail": THUMBNAIL}
    usual |= {"model": "resnet152", "timings_ms": Timings(1, 2, 3, 4, 1234)}
    return PredictAnswer(**usual | given)


class Backend(BackendClient):
    """A backend, or gateway: how its models are, what they answer, and what it was asked."""

    def __init__(self) -> None:
        super().__init__("", timeout_s=1)
        self.states: dict[str, ModelState | BackendError] = {  # by the model's id
            state.id: state for state in (SMALL, LARGE, THIRD)
        }
        self.list_failure: BackendError | None = None  # why there is no list of models
        # An answer or error, or several in turn, by the picture or the model.
        self.answers: dict[Any, Any] = {}
        self.usual: Any = None  # to all other questions, if not an answer that names the model
        self.asked: list[tuple[Any, str | None]] = []  # pictures, of which model
        self.top_k: dict[str | None, int | None] = {}  # how many classes each was asked for
        self.explained = 0  # how many were asked about with a map
        self.looked_at: list[str] = []  # ids of the models, and "list"

    def connect(self, url: str, settings: FrontendSettings) -> "Backend":
        """Stand at this address."""
        self.base_url, self.settings = url, settings
        return self

    @property
    def pictures(self) -> list[Any]:
        return [picture for picture, _ in self.asked]

    def models(self) -> list[str]:
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

    def predict(
        self, picture: Picture, model: Any = None, top_k: Any = None, *, explain: bool = False
    ) -> Answered:
        asked = picture.url or picture.data
        self.asked.append((asked, model))
        self.top_k[model] = top_k
        self.explained += explain
        usual = self.usual or answer(model=model or "resnet152")
        reply = self.answers.get(asked, self.answers.get(model, usual))
        reply = reply.pop(0) if isinstance(reply, list) else reply
        reply = reply() if callable(reply) else reply
        if isinstance(reply, Exception):
            raise reply
        return Answered(reply, 10.0)


class Page:
    """A page as a new person opens it, what they do there, and the backend behind it.

    What is done returns every word that is on the page then.
    """

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, backend: Backend | None = None
    ) -> None:
        self.patch = patch
        self.app = AppTest.from_file(str(folder / "app.py"), default_timeout=20)
        self.backend = backend or Backend()
        patch.setattr(client, "connect", self.backend.connect)
        patch.setenv("SERVING_URL", "http://backend.test")
        patch.setenv("API_GATEWAY", "http://gateway.test")
        patch.setenv("WAKE_TIMEOUT_S", "0.01")

    @property
    def query(self) -> dict[str, Any]:
        """Return what stands in the address bar behind the question mark."""
        return self.app.query_params

    def run(self) -> str:
        self.app.run()
        return self.words()

    def submit(self, text: str) -> str:
        """Write something into the box, and press Enter."""
        self._opened().chat_input[0].set_value(text).run()
        return self.words()

    def upload(self, *files: bytes, name: str = "cat.png") -> str:
        """Hand files over: chosen, pasted and dropped ones reach the page in the same way."""
        for data in files:
            self._opened().chat_input[0].upload(name, data)
        self.app.run()
        return self.words()

    def pick(self, model: str) -> str:
        self._opened().selectbox(key="model").set_value(model).run()
        return self.words()

    def click(self, label: str) -> str:
        next(button for button in self._opened().button if button.label == label).click().run()
        return self.words()

    def words(self) -> str:
        """Return every word on the page, and check that nothing went wrong unseen."""
        app = self.app
        assert not app.exception
        shown = [element.value for kind in (app.title, app.markdown) for element in kind]
        return "\n".join([*shown, unescape(re.sub("<[^>]*>", "\n", self.html))])

    @property
    def html(self) -> str:
        """Return the parts of the page that are HTML."""
        return "\n".join(element.proto.body for element in self.app.get("html"))

    @property
    def header(self) -> str:
        return unescape(re.findall("<h2[^>]*>(.*?)</h2>", self.html)[0])

    @property
    def rows(self) -> list[list[str]]:
        """Return the words in the cells of the page's tables."""
        rows = re.findall("<tr>(.*?)</tr>", self.html, re.DOTALL)
        cells = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        return [[unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in row] for row in cells]

    @property
    def strip(self) -> list[str]:
        """Return what is said below the pictures so far."""
        strip = self.html.partition('<ul class="strip">')[2].partition("</ul>")[0]
        return re.findall("<span>(.*?)</span>", strip)

    @property
    def buttons(self) -> list[str]:
        return [button.label for button in self.app.button]

    @property
    def code(self) -> list[str]:
        """Return the pieces of code on the page."""
        return [unescape(found) for found in re.findall("<code>(.*?)</code>", self.html, re.DOTALL)]

    @property
    def picked(self) -> str:
        return str(self.app.selectbox(key="model").value)

    @property
    def choices(self) -> list[str]:
        """Return the lines of the picker."""
        return list(self.app.selectbox(key="model").options)

    def _opened(self) -> AppTest:
        return self.app if self.app.title else self.app.run()
