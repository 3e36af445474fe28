"""What is sent to Cloud Build, and from there to Docker, is what images are made of."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conventions.deployment import BY_NAME
from tests.services.deployment.project import gcloud_environ
from tools.rehearsal.host import copy_source

FOLDERS = {
    *(".streamlit", "imgserve", "requirements", "v3"),
    *("backend_v1", "backend_v2", "frontend_v1", "frontend_v2"),
}
FOR_READERS = {"frontend_v1/screenshot.png"}  # of a listed folder, and yet in no image
TEMPTATIONS = (
    *(".env", ".git/config", "key.json", "v3/gateway/.env"),
    *("tests/unit/picture.png", "backend_v1.png", "imgserve_old/app.py", "build/imgserve/app.py"),
    *(".mypy_cache/a.json", "imgserve/.ruff_cache/a", "v3/backend/.pytest_cache/README.md"),
    *("imgserve/__pycache__/log.cpython-311.pyc", "v3/gateway/__pycache__/a", "imgserve/log.pyc"),
    *("tools/rehearsal/__main__.py", "deployment/__pycache__/a.pyc", "deployment/key.json"),
    *("node_modules/imgserve/a.js", "docs/v3/a.md", "weights/resnet152.pt", ".coverage"),
)
DOCKERFILES = sorted(
    {path for each in BY_NAME.values() for path in (each.dockerfile, each.base_dockerfile)}
)


@pytest.fixture(scope="module")
def wanted(repository_files: list[Path]) -> set[str]:
    """Return what images are made of."""
    return {
        path.as_posix()
        for path in repository_files
        if path.parts[0] in FOLDERS or path.match("deployment/Dockerfile.*")
    } - FOR_READERS


def test_cloud_build_is_sent_what_images_are_made_of_whatever_else_is_there(
    root: Path, repository_files: list[Path], wanted: set[str], tmp_path: Path
) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    folder = tmp_path / "my code"
    copy_source(root, folder)
    for name in (*TEMPTATIONS, "../environment/bin/python"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("tempting")
    (folder / ".venv").symlink_to(tmp_path / "environment")  # as in a rehearsal's shell
    command = ["gcloud", "meta", "list-files-for-upload", folder]
    listed = subprocess.check_output(command, env=gcloud_environ(tmp_path), text=True, timeout=120)
    assert set(listed.splitlines()) == wanted | {".dockerignore"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_everything_that_is_copied_is_sent(dockerfile: str, root: Path, wanted: set[str]) -> None:
    text = (root / dockerfile).read_text().replace("\\\n", " ")
    copied = {path for line in re.findall(r"^COPY (.*)$", text, re.M) for path in line.split()[:-1]}
    if "${FOLDER}" in copied:
        folders = {each.folder for each in BY_NAME.values() if each.dockerfile == dockerfile}
        copied = copied - {"${FOLDER}"} | folders
    copied -= {".own_model[s]"}  # there is one only while a person's own model is sent
    assert copied
    sent = {path for each in wanted for path in (Path(each), *Path(each).parents)}
    assert [pattern for pattern in copied if not any(path.match(pattern) for path in sent)] == []
