"""v3's backend as a container runs it."""

import requests

from tests.services.conftest import StartBackend
from tests.unit import pictures


def test_its_model_answers_by_path_and_others_are_known_by_name_alone(
    start_backend: StartBackend,
) -> None:
    """They may be a person's own, which are in their own images."""
    models = ["efficientnet_lite1", "of_a_person"]
    backend = start_backend("v3.backend.app:app", MODEL_NAME=models[0], MODELS=",".join(models))
    with pictures.path("coffee.png").open("rb") as picture:
        answer = requests.post(
            f"{backend.url}/model/{models[0]}/predict", files={"image": picture}, timeout=30
        ).json()
    assert (answer["category"], answer["model"]) == ("espresso", models[0])
    assert requests.get(f"{backend.url}/models", timeout=10).json() == models
    assert requests.get(f"{backend.url}/model/vgg16", timeout=10).status_code == 404
    state = requests.get(f"{backend.url}/model/{models[0]}", timeout=10).json()
    assert (state["state"], state["input_size"]) == ("ready", 240)
    assert state["size_bytes"] > 20_000_000
    backend.stop()
