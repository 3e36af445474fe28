"""v3's backend as a container runs it."""

import requests

from tests.services.conftest import StartBackend
from tests.unit import pictures

APP = "v3.backend.app:app"


def test_its_model_answers_by_path_and_no_other(start_backend: StartBackend) -> None:
    backend = start_backend(APP, MODEL_NAME="efficientnet_lite1")
    with pictures.path("coffee.png").open("rb") as picture:
        answer = requests.post(
            f"{backend.url}/model/efficientnet_lite1/predict", files={"image": picture}, timeout=30
        ).json()
    assert (answer["category"], answer["model"]) == ("espresso", "efficientnet_lite1")
    assert requests.get(f"{backend.url}/model/vgg16", timeout=10).status_code == 404
    state = requests.get(f"{backend.url}/model/efficientnet_lite1", timeout=10).json()
    assert (state["state"], state["input_size"]) == ("ready", 240)
    backend.stop()


def test_without_a_model_name_it_does_not_start_and_says_so(start_backend: StartBackend) -> None:
    backend = start_backend(APP, ready=False, MODEL_NAME="")
    assert backend.process.wait(timeout=30) != 0
    backend.stop()
    said = "".join(backend.log)
    assert "imgserve cannot start: MODEL_NAME is not set" in said
    assert "Traceback" not in said


def test_one_container_does_not_know_the_models_of_the_others(start_backend: StartBackend) -> None:
    """They may be a person's own, which are in their own images alone."""
    backend = start_backend(APP, MODELS="efficientnet_lite0,of_a_person")
    listed = requests.get(f"{backend.url}/models", timeout=9).json()
    assert listed == ["efficientnet_lite0", "of_a_person"]
