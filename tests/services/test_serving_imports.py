"""What serving imports: neither torch nor, in the backend's own process, what its workers need."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.conftest import MODELS

HEAVY = {"torch", "torchvision", "openvino_telemetry", "openvino.tools.ovc", "streamlit"}
SAY_WHAT_IS_HEAVY = f"print(sorted(name for name in {HEAVY} if sys.modules.get(name)))"
BACKEND = """
import sys
from backend_v1.app import app, pool
while pool.state(pool.ids[0])[0] != "ready": pass
with open("imgserve/samples/cat.jpg", "rb") as picture:
    answer = app.test_client().post("/predict", data=picture.read(), content_type="image/jpeg")
assert answer.status_code == 200, answer.text
"""
WORKER = """
import os, sys
from imgserve.models import worker_process
from imgserve.models.openvino_engine import load
from imgserve.settings import BackendSettings
assert load(BackendSettings.from_environ(os.environ), os.environ["MODEL_NAME"])
"""


@pytest.mark.parametrize("script", [BACKEND, WORKER], ids=["backend", "worker"])
def test_serving_imports_neither_torch_nor_torchvision(
    weights_dir: Path, root: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_NAME", MODELS[0])
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    command = [sys.executable, "-c", script + SAY_WHAT_IS_HEAVY]
    ran = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_the_backend_imports_neither_openvino_nor_numpy(root: Path) -> None:
    """They are its workers' affair: it starts sooner and takes less memory without."""
    code = "import sys; import imgserve.backend.routes, imgserve.models.pool; " + (
        "print(sorted({'numpy', 'openvino', 'PIL'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
