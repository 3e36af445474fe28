"""The embedded model in other precisions than fp32, on the bundled pictures."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from imgserve.errors import ModelError
from imgserve.models.compiled_model import FP32, INT8, read_info
from tests.services.conftest import MODELS, StartBackend

MODEL = MODELS[0]
CLASSES = {
    "cat": {"tabby", "tiger cat", "Egyptian cat"},
    "espresso": {"espresso"},
    "rocket": {"missile", "projectile"},
}


def test_a_backend_in_int8_answers_rightly_says_so_and_keeps_less_on_disk(
    start_backend: StartBackend, int8_weights_dir: Path, root: Path
) -> None:
    environ = {"PRECISION": INT8, "WEIGHTS_DIR": str(int8_weights_dir)}
    backend = start_backend("v3.backend.app:app", **environ)
    url = f"{backend.url}/model/{MODEL}"
    for sample, classes in CLASSES.items():
        picture = (root / f"imgserve/samples/{sample}.jpg").read_bytes()
        answer = requests.post(f"{url}/predict", files={"image": picture}, timeout=10).json()
        assert answer["category"] in classes
        assert (answer["model"], answer["precision"]) == (MODEL, INT8)
        assert sum(prediction["probability"] for prediction in answer["predictions"]) <= 1
    state = requests.get(url, timeout=10).json()
    backend.stop()
    assert (state["state"], state["precision"]) == ("ready", INT8)
    fp32, int8 = (
        read_info(int8_weights_dir / "compiled", MODEL, precision) for precision in (FP32, INT8)
    )
    assert state["size_bytes"] == int8.graph.size_bytes + int8.weights.size_bytes
    assert state["size_bytes"] < fp32.weights.size_bytes / 2
    assert not any("is compiled once" in line for line in backend.log)


CODE = """
import sys, pathlib
from imgserve.models.openvino_engine import load
from imgserve.settings import BackendSettings
folder, model = pathlib.Path(sys.argv[1]), sys.argv[2]
for precision in ("auto", "bf16"):
    settings = BackendSettings(weights_dir=folder, threads=1, precision=precision)
    print(load(settings, model).precision)
"""


def test_a_cpu_without_bf16_computes_in_fp32_and_refuses_bf16(
    root: Path, weights_dir: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(weights_dir), MODEL],
        cwd=root,
        env={**os.environ, "OV_CPU_MAX_ISA": "AVX2"},  # OpenVINO then knows nothing newer
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "fp32\n"
    assert f"{ModelError.__name__}: PRECISION='bf16' cannot be used: this CPU has no" in done.stderr
