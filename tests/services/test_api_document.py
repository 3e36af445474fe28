"""Requests made from the API document are answered as it says, thousands of them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgserve.contract import OPENAPI

# No document can say which bytes are a picture, so what it allows may well be refused.
LEFT_OUT = "positive_data_acceptance"
LIMIT_S = 300


@pytest.mark.parametrize("app", ["backend_v1.app:app", "backend_v2.app:app", "v3.backend.app:app"])
def test_every_answer_is_one_that_the_document_promises(
    app: str, start_backend: Callable[..., Any]
) -> None:
    backend = start_backend(app, MODELS="efficientnet_lite0", FETCH_TIMEOUT_S="1")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", backend.url + OPENAPI),
            *("--checks", "all", "--exclude-checks", LEFT_OUT),
            *("--max-examples", "40", "--seed", "1"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
