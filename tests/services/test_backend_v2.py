"""v2 as a container runs it: nobody's choice touches anybody else's answer."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.services.conftest import MODELS, Backend, StartBackend
from tests.unit import pictures

APP = "backend_v2.app:app"
PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg")
# Room for one of the three at a time: each takes about 50 MB.
TOO_LITTLE_MB = "70"


def post(session: requests.Session, url: str, **body: Any) -> dict[str, Any]:
    """Return the answer, waiting as the backend says while it is busy."""
    for _ in range(60):
        response = session.post(url, **body, timeout=60)
        if response.status_code != 503:
            break
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ask(session: requests.Session, url: str, name: str, **form: str) -> dict[str, Any]:
    """Return the answer to an uploaded picture."""
    return post(session, url, files={"image": pictures.path(name).read_bytes()}, data=form)


def seen(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(each["category"], each["probability"]) for each in answer["predictions"]]


@pytest.fixture(scope="module")
def alone(start_backend: StartBackend) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Return what each model makes of each picture when it is the only model there is."""
    answers = {}
    for model in MODELS:
        backend = start_backend(MODEL_NAME=model)
        for name in PICTURES:
            answers[model, name] = seen(ask(requests.Session(), f"{backend.url}/predict", name))
        backend.stop()
    for name in PICTURES:  # else nobody could tell one model from another
        assert len({str(answers[model, name]) for model in MODELS}) == len(MODELS)
    return answers


@pytest.fixture(scope="module")
def backend_v2(start_backend: StartBackend) -> Backend:
    return start_backend(
        APP, MODEL_NAME="", MODELS=",".join(MODELS), MODEL_MEMORY_MB=TOO_LITTLE_MB, SECRET_KEY="k"
    )


def test_every_caller_gets_the_answer_of_its_own_model_under_eviction_and_others_choices(
    backend_v2: Backend, alone: dict[tuple[str, str], list[tuple[str, float]]]
) -> None:
    def caller(seed: int) -> int:
        order, session = random.Random(seed), requests.Session()
        kept = MODELS[0]
        for _ in range(10):
            model, name = order.choice(MODELS), order.choice(PICTURES)
            way = order.choice(("cookie", "body", "path", "kept"))
            if way == "cookie":
                chosen = session.put(f"{backend_v2.url}/model/{model}", timeout=30)
                assert chosen.json()["model"] == model
                kept = model
            path = f"/model/{model}/predict" if way == "path" else "/predict"
            form = {"model": model} if way == "body" else {}
            expected = kept if way in ("cookie", "kept") else model
            answer = ask(session, backend_v2.url + path, name, **form)
            assert answer["model"] == expected
            assert seen(answer) == alone[expected, name]
        session.close()
        return 1

    with ThreadPoolExecutor(max_workers=8) as callers:
        assert sum(callers.map(caller, range(8))) == 8
    assert any("left memory" in line for line in backend_v2.log), "nothing was evicted"
