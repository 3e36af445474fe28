"""The documented steps for a new model, followed in a copy of everything."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import requests
import torch

from imgserve.compile.torchvision_import import IMAGENET_CATEGORIES, torchvision
from tests.conventions.documents import section
from tests.servers import Files, served
from tests.services.conftest import CLEAN, Backend, free_port
from tests.services.deployment.project import git
from tests.services.repository_copy import copy_repository
from tests.unit import pictures

EMBEDDED = "efficientnet_lite0"
LIMIT_S = 300
# The documented command, with random weights in the place of the trained ones, which are not to be
# had without a network. torch.hub wants the file that its name has the hash of.
COMPILE = """
import runpy, sys
from imgserve.compile.torchvision_import import torchvision
_, file, model, *_ = sys.argv
torchvision.models.get_model_weights(model).DEFAULT.value.url = f"https://nowhere.invalid/{file}"
sys.argv = ["imgserve.compile", *sys.argv[2:]]
runpy.run_module("imgserve.compile", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def steps(root: Path) -> str:
    """Return the document."""
    return section(root, "Adding a model", "docs/own-model.md").text


@pytest.fixture(scope="module")
def model(steps: str) -> str:
    """Return the model that it adds."""
    (found,) = re.findall(r'^ *Entry\("(\w+)"', steps, re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def copy(
    root: Path,
    repository_files: list[Path],
    steps: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a copy of the repository in which the first two steps are done."""
    folder = tmp_path_factory.mktemp("copy")
    copy_repository(root, repository_files, folder)
    git(folder, "init", "--quiet", "--template=")
    (line,) = re.findall(r"^ *(Entry\(.*\))$", steps, re.MULTILINE)
    at_the_end(folder / "imgserve/models/catalogue.py", r"^( *)Entry\(.*\),\n", rf"\1{line},\n")
    (more,) = re.findall(r"`(,\w+)`", steps)
    at_the_end(folder / "deployment/components.sh", r"compiled_models=\w+,[\w,]+", more)
    (script,) = re.findall(r"run `(deployment/\w+\.sh)`", steps)
    subprocess.run([folder / script], check=True)
    return folder


def at_the_end(path: Path, pattern: str, more: str) -> None:
    """Write more after the last place in a file that fits a pattern, whose groups it may use."""
    text = path.read_text()
    *_, last = re.finditer(pattern, text, re.MULTILINE)
    path.write_text(text[: last.end()] + last.expand(more) + text[last.end() :])


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return an environment in which nobody measures which lines of the copy are run."""
    for name in [name for name in CLEAN if name.startswith("COV")]:
        monkeypatch.delitem(CLEAN, name)
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def random_weights(model: str, folder: Path) -> str:
    """Write weights that find some class likely; return the file's name, with its hash in it."""
    torch.manual_seed(0)
    made = torchvision.models.get_model(model)
    weights = made.state_dict()
    weights["classifier.3.weight"] *= 10
    torch.save(weights, folder / "weights")
    digest = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()
    (folder / "weights").rename(folder / f"{model}-{digest[:8]}.pth")
    return f"{model}-{digest[:8]}.pth"


def test_a_model_added_as_the_readme_says_passes_the_tests_about_models(
    copy: Path, steps: str, environ: dict[str, str]
) -> None:
    (tests,) = re.findall(r'make test ARGS="(.*)"', steps)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests.split()],
        cwd=copy,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_a_model_added_as_the_readme_says_is_compiled_and_answers(
    copy: Path,
    model: str,
    weights_dir: Path,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    file = random_weights(model, tmp_path)
    weights = tmp_path / "weights"
    shutil.copytree(weights_dir, weights)
    places = ["--out", str(weights / "compiled"), "--checkpoints", str(weights / "checkpoints")]
    with served(partial(Files, directory=str(tmp_path))) as mirror:
        command = [sys.executable, "-c", COMPILE, file, model, *places]
        command += ["--weights-url-base", mirror]
        subprocess.run(command, cwd=copy, env=environ, check=True, timeout=LIMIT_S)
    asked_as_v2(copy, model, weights)


def asked_as_v2(copy: Path, model: str, weights: Path) -> None:
    """See that a backend of the copy knows a model and answers with it."""
    given = {"MODELS": f"{EMBEDDED},{model}", "WEIGHTS_DIR": str(weights)}
    backend = Backend("backend_v2.app:app", copy, free_port(), given)
    try:
        backend.wait_until("/ready")
        assert requests.get(f"{backend.url}/models", timeout=10).json() == [EMBEDDED, model]
        described = requests.get(f"{backend.url}/model/{model}", timeout=10).json()
        assert (described["parameters"], described["input_size"]) == (2_542_856, 224)
        picture = {"image": pictures.path("coffee.png").read_bytes()}
        url = f"{backend.url}/model/{model}/predict"
        answer = requests.post(url, files=picture, timeout=60).json()
        assert answer["model"] == model, answer
        assert answer["category"] in IMAGENET_CATEGORIES
    finally:
        backend.stop()
