"""The border of this folder: no process, no torch."""

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PROCESS_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}
TORCH = {"torch", "torchvision"}
STARTERS = {"test_frontend_start"}  # looks at what a new interpreter has imported


class Border:
    """Refuses to start a process or to import torch while a unit test runs."""

    def __init__(self) -> None:
        self.closed = False
        sys.addaudithook(self._audit)  # there is no way to remove one

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.closed:
            return
        if event in PROCESS_STARTS:
            raise AssertionError("tests/unit starts no process: move this test to tests/services")
        if event == "import" and args[0] in TORCH:
            raise AssertionError("tests/unit imports no torch: move this test to tests/torch")


BORDER = Border()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the border while a test of this folder and its fixtures run."""
    here = item.path.parent == Path(__file__).parent  # the hook is called for every folder
    BORDER.closed = here and item.path.stem not in STARTERS
    try:
        return (yield)
    finally:
        BORDER.closed = False
