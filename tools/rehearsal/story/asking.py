"""Questions to a deployed backend, as curl would ask them."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tools.rehearsal.story.progress import StepFailed

LIMIT_S = 60
PAUSE_S = 0.5


def http() -> requests.Session:
    """Return a session that goes straight to this machine, whatever proxy is set."""
    session = requests.Session()
    session.trust_env = False
    return session


def predicted(url: str, picture: Path) -> str:
    """Return the category that a backend gives a picture.

    Raises:
        StepFailed: it does not answer with one.
    """
    with http() as session, picture.open("rb") as file:
        answer = session.post(url, files={"image": file}, timeout=LIMIT_S)
    if not answer.ok:
        raise StepFailed(f"{url} answered {answer.status_code}: {answer.text[:200]}")
    category: str = answer.json()["predictions"][0]["category"]
    return category


class Asker:
    """Somebody who keeps asking until the end of the block.

    Attributes:
        answers: how many came.
        failures: why there was no answer, each time.
    """

    def __init__(self, url: str, picture: Path) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._question = (url, picture)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            try:
                predicted(*self._question)
                self.answers += 1
            except (StepFailed, requests.RequestException) as exc:
                self.failures.append(str(exc))

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def verdict(self) -> str:
        """Return in words that every question was answered.

        Raises:
            StepFailed: one was not, or there was none.
        """
        if self.failures or not self.answers:
            raise StepFailed(
                f"of {self.answers + len(self.failures)} questions asked meanwhile"
                f" {len(self.failures)} failed: {self.failures[:1]}"
            )
        return f"{self.answers} questions were asked meanwhile, and all were answered"
