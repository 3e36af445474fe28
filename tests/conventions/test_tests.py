"""No test is skipped in CI, and those of `tests/unit` import no torch and start no process."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "test_mark": "@pytest.mark.skip(reason='no chromium')\ndef test_it(): pass",
    "test_body": "def test_it(): pytest.skip('no docker')",
    "test_extra": "@pytest.mark.extra\n@pytest.mark.skip(reason='no photos')\ndef test_it(): pass",
    "test_module": "pytest.skip('no nginx', allow_module_level=True)",
    "test_xfail": "@pytest.mark.xfail\ndef test_it(): assert False",
    "test_passes": "def test_it(): pass",
}


@pytest.mark.parametrize(
    ("ci", "outcomes"),
    [
        ("true", {"passed": 1, "skipped": 1, "failed": 1, "errors": 2, "xfailed": 1}),
        ("", {"passed": 1, "skipped": 4, "xfailed": 1}),
    ],
)
def test_skip_is_a_failure_in_ci_alone_and_says_why_everywhere(
    ci: str,
    outcomes: dict[str, int],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
) -> None:
    pytester.makeini("[pytest]\nmarkers = extra")
    pytester.makeconftest((root / "tests" / "conftest.py").read_text())
    pytester.makepyfile(**{name: f"import pytest\n{body}" for name, body in TESTS.items()})
    monkeypatch.setenv("CI", ci)
    result = pytester.runpytest_inprocess("-ra", "--continue-on-collection-errors")
    result.assert_outcomes(**outcomes)
    output = result.stdout.str()
    assert all(reason in output for reason in ("no chromium", "no docker", "no nginx"))
    assert ("because CI=true" in output) == bool(ci)


# --- the border of tests/unit ----------------------------------------------------------------

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
