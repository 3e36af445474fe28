"""v1 with PRECISION=int8, on the bundled pictures."""

from pathlib import Path

import msgspec
import pytest
import requests

from imgserve.compile.quantize import LEAST_AGREEMENT
from imgserve.models.compiled_model import INT8, read_info
from tests.services.conftest import MODELS, Backend, StartBackend

CLASSES = {"cat": {"tabby", "tiger cat", "Egyptian cat"}, "espresso": {"espresso"}}
CLASSES["rocket"] = {"missile", "projectile"}


@pytest.fixture(scope="module")
def backend(start_backend: StartBackend, int8_weights_dir: Path) -> Backend:
    """Return a v1 that computes in int8."""
    return start_backend(PRECISION="int8", WEIGHTS_DIR=str(int8_weights_dir))


@pytest.mark.parametrize("sample", CLASSES)
def test_samples_are_answered_rightly_in_int8(backend: Backend, root: Path, sample: str) -> None:
    with (root / f"imgserve/samples/{sample}.jpg").open("rb") as picture:
        response = requests.post(f"{backend.url}/predict", files={"image": picture}, timeout=10)
    answer = response.json()
    assert answer["category"] in CLASSES[sample]
    assert answer["model"] == MODELS[0]
    assert sum(each["probability"] for each in answer["predictions"]) <= 1
    assert not any("is compiled once" in line for line in backend.log)


def test_a_backend_in_int8_keeps_less_on_disk_and_says_how_it_computes(
    start_backend: StartBackend, int8_weights_dir: Path
) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        environ = {"PRECISION": precision, "WEIGHTS_DIR": str(int8_weights_dir)}
        backend = start_backend("v3.backend.app:app", **environ)
        state = requests.get(f"{backend.url}/model/{MODELS[0]}", timeout=10).json()
        backend.stop()
        assert (state["state"], state["precision"]) == ("ready", precision)
        sizes[precision] = state["size_bytes"]
    assert sizes["int8"] < sizes["fp32"] / 2


def test_the_embedded_model_agrees_with_itself_in_int8(int8_weights_dir: Path) -> None:
    info = read_info(int8_weights_dir / "compiled", MODELS[0], INT8)
    assert info.quantization is not None
    assert info.quantization.agreement >= LEAST_AGREEMENT
    assert info.quantization.pictures >= 200
    assert "depthwise" in info.quantization.floating
    assert msgspec.to_builtins(info)["precision"] == INT8
