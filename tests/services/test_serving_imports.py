"""What serving imports: neither torch nor, in the backend's own process, what its workers need."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.conftest import MODELS

TORCH = {"torch", "torchvision", "openvino_telemetry", "openvino.tools.ovc", "streamlit"}
BACKEND = """
from backend_v1.app import app, pool
while pool.state(pool.ids[0])[0] != "ready": pass
with open("imgserve/samples/cat.jpg", "rb") as picture:
    answer = app.test_client().post("/predict", data=picture.read(), content_type="image/jpeg")
assert answer.status_code == 200, answer.text
"""
WORKER = """
import os
from imgserve.models import worker_process
from imgserve.models.openvino_engine import load
from imgserve.settings import BackendSettings
assert load(BackendSettings.from_environ(os.environ), os.environ["MODEL_NAME"])
"""
# It starts sooner, and takes less memory, without what is its workers' affair.
BEFORE_IT_ANSWERS = "import imgserve.backend.routes, imgserve.models.pool"


@pytest.mark.parametrize(
    ("script", "heavy"),
    [
        pytest.param(BACKEND, TORCH, id="a backend, torch"),
        pytest.param(WORKER, TORCH, id="a worker, torch"),
        pytest.param(BEFORE_IT_ANSWERS, {"numpy", "openvino", "PIL"}, id="a backend, numpy"),
    ],
)
def test_serving_imports_nothing_heavy_that_it_does_not_need(
    weights_dir: Path, root: Path, script: str, heavy: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_NAME", MODELS[0])
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    say = f"\nimport sys; print(sorted(name for name in {heavy} if sys.modules.get(name)))"
    command = [sys.executable, "-c", script + say]
    ran = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "[]"
