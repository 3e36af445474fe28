"""The real gateway before the real backends of v3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from imgserve.contract import ModelState
from tests.services.conftest import MODELS, Backend, StartBackend
from tests.services.gateway_process import Gateway, assert_problem
from tests.unit import pictures

APP = "v3.backend.app:app"
TWO = MODELS[:2]


@pytest.fixture(scope="module")
def backends(start_backend: StartBackend) -> dict[str, Backend]:
    """Return two backends of a model each."""
    return {model: start_backend(APP, MODEL_NAME=model, THREADS="1") for model in TWO}


@pytest.fixture(scope="module")
def gateway(root: Path, backends: dict[str, Backend]) -> Iterator[Gateway]:
    """Return the gateway before them."""
    started = Gateway(root, {model: backend.url for model, backend in backends.items()})
    started.wait_until_up()
    yield started
    started.stop()


@pytest.mark.parametrize("model", TWO)
@pytest.mark.parametrize("form", ["multipart", "raw", "chunked"])
def test_answer_is_that_of_the_backend(
    model: str, form: str, gateway: Gateway, backends: dict[str, Backend]
) -> None:
    picture = pictures.path("coffee.png").read_bytes()

    def ask(url: str) -> dict[str, Any]:
        url = f"{url}/model/{model}/predict"
        headers = {"Content-Type": "image/png"}
        if form == "multipart":
            answer = requests.post(url, {"top_k": 3}, files={"image": picture}, timeout=30)
        elif form == "raw":
            answer = requests.post(f"{url}?top_k=3", picture, headers=headers, timeout=30)
        else:
            answer = requests.post(f"{url}?top_k=3", iter([picture]), headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return {name: answer.json()[name] for name in ("category", "model", "predictions")}

    through, direct = ask(gateway.url), ask(backends[model].url)
    assert through == direct
    assert len(through["predictions"]) == 3
    assert (through["category"], through["model"]) == ("espresso", model)


def test_state_and_errors_are_those_of_the_backend(gateway: Gateway) -> None:
    url = f"{gateway.url}/model/{TWO[1]}"
    state = ModelState(**requests.get(url, timeout=10).json())
    assert (state.id, state.state) == (TWO[1], "ready")
    answer = requests.post(f"{url}/predict", json={"url": "nonsense"}, timeout=10)
    assert_problem(answer, 400, "invalid-url")
    answer = requests.get(f"{url}/predict", timeout=10)
    assert_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]
    answer = requests.post(f"{url}/predict", b"no picture", timeout=10)
    assert_problem(answer, 400, "invalid-request")


def test_one_request_has_one_id_in_both_logs(
    gateway: Gateway, backends: dict[str, Backend]
) -> None:
    headers = {"X-Request-Id": "seen-in-both"}
    requests.get(f"{gateway.url}/model/{TWO[0]}", headers=headers, timeout=10)
    assert any(
        entry["request_id"] == "seen-in-both" for entry in gateway.entries(f"/model/{TWO[0]}")
    )
    assert "seen-in-both" in "".join(backends[TWO[0]].log)
