"""The documented example of an own model, from its training to answers beside a built-in one's."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from imgserve.contract import MODEL_PREDICT
from tests.conventions.documents import section
from tests.services.conftest import Backend, StartBackend
from tools.run import RunSettings, services

BUILT_IN = "efficientnet_lite0"
LIMIT_S = 400


def commands(root: Path) -> list[str]:
    """Return the example's commands."""
    text = section(root, "An example", "docs/own-model.md").text
    return re.findall(r"^(?:make|\S*\.venv|MODELS_FILE).*$", text, re.MULTILINE)


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(root: Path, weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands need, where the model is trained and compiled."""
    folder = tmp_path_factory.mktemp("own")
    for name in (".venv", "examples", "imgserve"):
        (folder / name).symlink_to(root / name)
    (folder / "cache" / "imgserve").mkdir(parents=True)
    shutil.copytree(weights_dir / "compiled", folder / "cache" / "imgserve" / "compiled")
    for command in commands(root)[:2]:
        run(folder, command)
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path, start_backend: StartBackend) -> Backend:
    """Return a v2 of the own model and a built-in one."""
    return start_backend(
        "backend_v2.app:app",
        MODEL_NAME="",
        MODELS=f"digits,{BUILT_IN}",
        MODELS_FILE=str(folder / "digits" / "models.toml"),
        WEIGHTS_DIR=str(folder / "cache" / "imgserve"),
    )


pytestmark = pytest.mark.large  # it trains


def test_what_it_learned_is_right_about_pictures_it_has_not_seen(root: Path, folder: Path) -> None:
    evaluated = run(folder, commands(root)[2]).stdout
    rows = re.findall(r"^(?:fp32|bf16) +360 +([\d.]+)%", evaluated, re.MULTILINE)
    assert rows
    assert all(float(row) >= 95 for row in rows)


def test_it_answers_beside_a_built_in_model_each_with_its_own_classes(
    folder: Path, backend: Backend
) -> None:
    three = next((folder / "digits/held_out/3").iterdir()).read_bytes()

    def ask(model: str, query: str = "") -> requests.Response:
        url = backend.url + MODEL_PREDICT.format(model=model) + query
        return requests.post(url, three, headers={"Content-Type": "image/png"}, timeout=60)

    answer = ask("digits").json()
    assert (answer["category"], answer["model"]) == ("3", "digits")
    assert len(ask("digits", "?top_k=10").json()["predictions"]) == 10
    refused = ask("digits", "?top_k=11")
    assert refused.status_code == 400
    assert refused.json()["detail"] == "top_k=11 cannot be used: digits has 10 classes"
    assert len(ask(BUILT_IN, "?top_k=11").json()["predictions"]) == 11


def test_it_is_described_as_the_built_in_ones_are(backend: Backend) -> None:
    assert requests.get(f"{backend.url}/models", timeout=9).json() == ["digits", BUILT_IN]
    own = requests.get(f"{backend.url}/model/digits", timeout=9).json()
    assert (own["title"], own["classes"], own["top1"]) == ("Handwritten digits", 10, None)
    assert (own["state"], own["input_size"]) == ("ready", 128)
    document = requests.get(f"{backend.url}/openapi.json", timeout=9).json()
    options = document["components"]["schemas"]["ChoosingRequest"]["properties"]
    assert options["top_k"]["maximum"] == 1000


def test_an_image_serves_it_without_what_it_was_made_from(
    folder: Path, start_backend: StartBackend
) -> None:
    weights = folder / "cache" / "imgserve"
    backend = start_backend(MODEL_NAME="digits", MODELS_FILE="", WEIGHTS_DIR=str(weights))
    document = requests.get(f"{backend.url}/openapi.json", timeout=9).json()
    properties = document["components"]["schemas"]["PredictRequest"]["properties"]
    assert properties["top_k"]["maximum"] == 10


def test_commands_for_another_model_are_those_of_the_example(root: Path, folder: Path) -> None:
    """And int8, which the example leaves out, is judged by its pictures."""
    shown = section(root, "Compile it, and see how good it is", "docs/own-model.md").commands
    named = [one.replace("pets", "digits").replace("held_out", "digits/held_out") for one in shown]
    compiling, evaluating, serving, int8, serving_int8 = named
    models_file = "MODELS_FILE=digits/models.toml "
    made = run(folder, models_file + int8)
    assert re.search(r"int8 is right about \S+% of 180 pictures", made.stderr)
    run_it = serving.replace("make run ", f"make run {models_file}")
    assert [models_file + compiling, models_file + evaluating, run_it] == commands(root)[1:]
    assert serving_int8 == f"{serving} PRECISION=int8"


def test_a_run_offers_the_models_own_samples(folder: Path) -> None:
    models_file = folder / "digits/models.toml"
    environ = {"MODEL_NAME": "digits", "MODELS_FILE": str(models_file)}
    *_, page = services(RunSettings(), environ)
    assert page.environ["SAMPLES_DIR"] == str(models_file.parent / "samples")
    assert "SAMPLES_DIR" not in services(RunSettings(), {})[-1].environ
