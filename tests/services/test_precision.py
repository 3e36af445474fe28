"""A CPU without instructions for bf16, which OpenVINO can be made to believe in."""

import os
import subprocess
import sys
from pathlib import Path

from imgserve.errors import ModelError
from tests.services.conftest import MODELS


def test_a_cpu_without_bf16_computes_in_fp32_and_refuses_bf16(
    root: Path, weights_dir: Path
) -> None:
    code = (
        "import sys, pathlib\n"
        "from imgserve.models.openvino_engine import load\n"
        "from imgserve.settings import BackendSettings\n"
        "folder, model = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "for precision in ('auto', 'bf16'):\n"
        "    settings = BackendSettings(weights_dir=folder, threads=1, precision=precision)\n"
        "    print(load(settings, model).precision)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(weights_dir), MODELS[0]],
        cwd=root,
        env={**os.environ, "OV_CPU_MAX_ISA": "AVX2"},  # OpenVINO then knows nothing newer
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "fp32\n"
    assert f"{ModelError.__name__}: PRECISION='bf16' cannot be used: this CPU has no" in done.stderr
