"""The deployment scripts in a folder of their own, for each test a fresh one."""

from pathlib import Path

import pytest

from tests.services.deployment.project import Project, copy_repository


@pytest.fixture(scope="session")
def committed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a committed copy of what the scripts read; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("committed")
    copy_repository(root, folder / "imgserve")
    return folder / "imgserve"


@pytest.fixture
def project(committed: Path, tmp_path: Path) -> Project:
    """Return the scripts with stand-ins for what they call."""
    return Project(committed, tmp_path)
