"""Questions to a deployed backend, as curl would ask them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tools.rehearsal.images import LIMIT_S, http
from tools.rehearsal.progress import Step, StepFailed

PAUSE_S = 0.5


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


@contextmanager
def asking(step: Step, url: str, picture: Path) -> Iterator[None]:
    """Keep asking a backend until the end of the block.

    Raises:
        StepFailed: a question was not answered, or none was asked.
    """
    answers, failures, stopped = list[str](), list[str](), threading.Event()

    def ask() -> None:
        while not stopped.wait(PAUSE_S):
            try:
                answers.append(predicted(url, picture))
            except (StepFailed, requests.RequestException) as exc:
                failures.append(str(exc))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    asked = len(answers) + len(failures)
    if failures or not answers:
        raise StepFailed(
            f"of {asked} questions asked meanwhile {len(failures)} failed: {failures[:1]}"
        )
    step.note(f"{asked} questions were asked meanwhile, and all were answered")
