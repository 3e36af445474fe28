"""v2 as a container runs it: nobody's choice touches anybody else's answer."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.services.conftest import MODELS, StartBackend
from tests.unit import pictures

PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg")
# Room for one of the three at a time: each takes about 50 MB.
TOO_LITTLE_MB = "70"


def ask(url: str, name: str, session: requests.Session | None = None, **form: str) -> Any:
    """Return which model answered, and what, to an uploaded picture; wait while it is busy."""
    picture = {"image": pictures.path(name).read_bytes()}
    for _ in range(60):
        response = (session or requests).post(url, files=picture, data=form, timeout=60)
        if response.status_code != 503:
            break
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["model"], answer["predictions"]


def test_every_caller_gets_the_answer_of_its_own_model_under_eviction_and_others_choices(
    start_backend: StartBackend,
) -> None:
    environ = {"MODEL_NAME": "", "MODELS": ",".join(MODELS), "SECRET_KEY": "k"}
    backend = start_backend("backend_v2.app:app", MODEL_MEMORY_MB=TOO_LITTLE_MB, **environ)
    alone = {
        (model, name): ask(f"{backend.url}/model/{model}/predict", name)
        for model in MODELS
        for name in PICTURES
    }
    for name in PICTURES:  # else nobody could tell one model from another
        assert len({str(alone[model, name][1]) for model in MODELS}) == len(MODELS)

    def call(seed: int) -> None:
        order, kept = random.Random(seed), MODELS[0]
        with requests.Session() as session:
            for _ in range(10):
                model, name = order.choice(MODELS), order.choice(PICTURES)
                way = order.choice(("cookie", "body", "path", "kept"))
                if way == "cookie":
                    chosen = session.put(f"{backend.url}/model/{model}", timeout=30)
                    assert chosen.json()["model"] == model
                    kept = model
                path = f"/model/{model}/predict" if way == "path" else "/predict"
                form = {"model": model} if way == "body" else {}
                expected = kept if way in ("cookie", "kept") else model
                answer = ask(backend.url + path, name, session, **form)
                assert answer == (expected, alone[expected, name][1])

    with ThreadPoolExecutor(max_workers=8) as callers:
        list(callers.map(call, range(8)))
    assert any("left memory" in line for line in backend.log), "nothing was evicted"
    backend.stop()
