"""`tests/unit` imports no torch and starts no process, so it answers at once."""

import subprocess
import sys
from pathlib import Path

import pytest

COLLECT = """
import sys, pytest
failed = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "tests/unit"])
sys.exit(failed or "torch" in sys.modules)
"""
CROSSING = {
    "process": "import subprocess\ndef test_it(): subprocess.run(['true'])",
    "fork": "import os\ndef test_it(): os.fork()",
    "torch": "def test_it(): import torchvision",
    "fixture": (
        "import pytest, subprocess\n"
        "@pytest.fixture(scope='session')\ndef made(): subprocess.run(['true'])\n"
        "def test_it(made): pass"
    ),
}


def test_no_unit_test_imports_torch_as_soon_as_it_is_read(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COLLECT], cwd=root, check=False)
    assert done.returncode == 0


def test_unit_tests_that_cross_the_border_fail(pytester: pytest.Pytester, root: Path) -> None:
    pytester.makeconftest((root / "tests" / "unit" / "conftest.py").read_text())
    pytester.makepyfile(**{f"test_{name}": code for name, code in CROSSING.items()})
    result = pytester.runpytest_subprocess()  # here torch may be imported already
    result.assert_outcomes(failed=len(CROSSING) - 1, errors=1)
    result.stdout.fnmatch_lines(["*tests/unit imports no torch: move this test to tests/torch"])
