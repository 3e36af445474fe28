"""What every test shares: the repository's root, files beside it, CI's rule about skipped tests."""

import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
Test = TypeVar("Test", bound=Callable[..., None])

ROOT = Path(__file__).resolve().parent.parent
# What lies beside the project on some machines: small files that people sent, labelled photographs.
CASES, PHOTOS = ROOT.parent / "shared" / "cases", ROOT.parent / "shared" / "photos"

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case of binary data by its kind: archives differ by the second that they are made in.

    Each of pytest-xdist's processes makes its own, and all must have the same names for them.
    """
    return "bytes" if isinstance(val, bytes) and not val.isalnum() else None


@pytest.fixture(scope="session")
def repository_files() -> list[Path]:
    """Return the files that git tracks or would track, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [Path(name) for name in sorted(set(listed.split("\0"))) if (ROOT / name).is_file()]


def needs(folder: Path) -> Callable[[Test], Test]:
    """Return what leaves a test out, in CI as well, where a folder is not there."""
    extra, reason = pytest.mark.extra, f"{folder} is not here"
    return lambda test: extra(pytest.mark.skipif(not folder.is_dir(), reason=reason)(test))


def _failed_if_skipped(report: Report) -> Report:
    may_lack = hasattr(report, "wasxfail") or "extra" in getattr(report, "keywords", {})
    if report.skipped and os.environ.get("CI") == "true" and not may_lack:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nA skipped test is a failure here, because CI=true."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failure in CI."""
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failure in CI."""
    return _failed_if_skipped((yield))
