"""The command behind `make rehearse`, as far as it is quick; the rest is `make rehearse` itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tools.rehearsal.host import find, listens, registry


def run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.rehearsal", *words]
    environ = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_says_what_can_be_rehearsed(root: Path) -> None:
    told = run(root, "-h")
    assert told.returncode == 0
    assert "v1, v2 or v3 (default: all)" in told.stdout
    assert "REHEARSE_MODELS" in told.stdout


def test_an_unknown_version_is_refused(root: Path) -> None:
    told = run(root, "v4")
    assert told.returncode == 2
    assert "'v4' is none of v1, v2, v3" in told.stderr


def test_folder_that_is_kept_is_named_with_the_command_that_removes_it(
    root: Path, tmp_path: Path
) -> None:
    """Here git fails, so that nothing is begun."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("chromium", "curl", "docker", "docker-registry", "gcloud", "git", "openssl"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    folder = tmp_path / "my rehearsal"
    words = ("v1", "--keep", "--folder", str(folder))
    told = run(root, *words, PATH=str(programs), REHEARSE_MODELS="vgg16")
    assert told.returncode == 1
    *_, kept, remove = told.stderr.splitlines()
    assert kept == f"Everything is in {folder}. Nothing of it runs any more; this removes it:"
    assert any(folder.iterdir())
    subprocess.run(["sh", "-c", remove], check=True)
    assert not folder.exists()


def test_without_gcloud_it_says_so_and_does_nothing(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    told = run(root, "--folder", str(folder), PATH=str(tmp_path))
    assert told.returncode == 1
    assert "gcloud is missing: the Google Cloud CLI" in told.stderr
    assert told.stdout == ""
    assert not folder.exists()


def test_the_registry_answers_until_the_rehearsal_is_over(tmp_path: Path) -> None:
    if not find("docker-registry"):
        pytest.skip("no docker-registry: install Debian's package of that name")
    with registry(tmp_path / "registry") as address:
        with requests.Session() as http:
            http.trust_env = False
            answer = http.get(f"http://{address}/v2/_catalog", timeout=30)
        assert answer.json() == {"repositories": []}
    assert not listens(int(address.rpartition(":")[2]))
