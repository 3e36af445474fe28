"""What tests of pages share: answers a test chooses, and a person's ways with a page."""

import base64
from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest

from imgserve.contract import PredictAnswer, Prediction, Timings

URL = "https://pictures.test/cat.png"
THUMBNAIL = "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode()


def answer(category: str = "tabby", probability: float = 0.75, **given: Any) -> PredictAnswer:
    """Return an answer whose best class is this one."""
    predictions = [Prediction(category, 281, probability), Prediction("lynx", 287, 0.0001)]
    fields = {"model": "resnet152", "thumbnail": THUMBNAIL, **given}
    return PredictAnswer(
        category=category, predictions=predictions, timings_ms=Timings(1, 2, 3, 4, 1234), **fields
    )


class Asked:
    """What the backend was asked, and what it is to answer."""

    def __init__(self) -> None:
        self.questions: list[Any] = []
        self.answers: dict[Any, Any] = {}
        self.usual: Any = answer()

    def method(self) -> Callable[..., PredictAnswer]:
        """Return what takes the place of a client's method."""
        return lambda _, question, **__: self.reply(question)

    def reply(self, question: Any) -> PredictAnswer:
        """Return or raise what a test chose."""
        self.questions.append(question)
        reply = self.answers.get(question, self.usual)
        reply = reply.pop(0) if isinstance(reply, list) else reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, PredictAnswer)
        return reply


def submit(app: AppTest, url: str) -> AppTest:
    """Ask about a picture as a person does."""
    app.text_input(key="url").input(url)
    return button(app, "Classify").click().run()


def button(app: AppTest, label: str) -> Any:
    """Return the button with this label."""
    return next(each for each in app.button if each.label == label)


def shown(app: AppTest) -> str:
    """Return every word on the page, and check that nothing went wrong unseen."""
    assert not app.exception
    kinds = (app.title, app.header, app.subheader, app.markdown, app.caption, app.error)
    return "\n".join(each.value for kind in (*kinds, app.warning) for each in kind)


def elements(app: AppTest, kind: str) -> list[Any]:
    """Return the messages of elements that the test runner has no class for."""
    return [each.proto for each in app.get(kind)]
