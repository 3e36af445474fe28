"""The commands of the documents do what is said beside them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conventions.documents import sections
from tests.services.conftest import CLEAN, MODELS, Backend, PictureHost
from tests.services.test_make_run import MAKE
from tools.rehearsal.host import copy_source

ROOT = Path(__file__).resolve().parents[2]
CAT = re.compile("Egyptian cat|tabby|tiger cat")
BACKEND = "http://127.0.0.1:8000"
PICTURE = "https://example.com/cat.jpg"
CURLS = [
    command
    for section in sections(ROOT)
    for command in section.commands
    if command.startswith("curl ")
]
LIMIT_S = 300


@pytest.fixture(scope="module")
def backend_v2(start_backend: Callable[..., Backend]) -> Backend:
    return start_backend("backend_v2.app:app", MODELS=",".join(MODELS))


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Return how a command ended that is run where a reader runs it."""
    return subprocess.run(
        words,
        cwd=cwd,
        env=CLEAN,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.mark.parametrize("line", CURLS)
def test_curl_line_of_the_readme_is_answered(
    line: str, backend_v1: Backend, backend_v2: Backend, picture_host: PictureHost
) -> None:
    has_models = "/model" in line or "model=" in line
    backend = backend_v2 if has_models else backend_v1
    here = line.replace(BACKEND, backend.url).replace(PICTURE, picture_host.url("chelsea.png"))
    assert here != line
    done = run("bash", "-c", f"{here} --silent --show-error --fail-with-body")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    if line.endswith("/models"):
        assert answer == list(MODELS)
        return
    assert CAT.search(answer["category"])
    wanted = re.search(r"top_k\"?[:=] ?(\d+)", line)
    assert len(answer["predictions"]) == (int(wanted[1]) if wanted else 5)
    assert ("thumbnail" in answer) == ("thumbnail" in line)
    named = re.search(r"\bmodel[/=](\w+)", line)
    assert answer["model"] == (named[1] if named else MODELS[0])


def test_example_answer_of_the_documents_has_the_fields_of_a_real_one(backend_v1: Backend) -> None:
    (example,) = re.findall(
        r"```json\n(\{\n.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL
    )
    shown = json.loads(example)
    upload = f"image=@{ROOT / 'imgserve' / 'samples' / 'cat.jpg'}"
    real = json.loads(run("curl", "--silent", "-F", upload, f"{backend_v1.url}/predict").stdout)
    assert list(shown) == list(real)
    assert shown["category"] == real["category"]
    assert shown["timings_ms"].keys() == real["timings_ms"].keys()
    first, second = shown["predictions"][0], real["predictions"][0]
    assert (first["class_id"], first["category"]) == (second["class_id"], second["category"])
    near = 1e-3 if real["precision"] == shown["precision"] else 0.05
    assert first["probability"] == pytest.approx(second["probability"], abs=near)


# --- make --------------------------------------------------------------------------------------


def test_make_lists_what_it_can_do() -> None:
    listed = run("make").stdout
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE) == targets
    assert {"run", "check", "test", "lint", "bench", "rehearse", "screenshot"} <= set(targets)


def test_make_test_takes_arguments() -> None:
    arguments = "tests/unit/test_catalogue.py -k unknown"
    done = run(*MAKE, "test", f"ARGS={arguments}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed, \d+ deselected", done.stdout)


def test_make_format_rewrites_what_make_lint_checks() -> None:
    assert "ruff format ." in run(*MAKE, "--dry-run", "format").stdout
    assert "ruff format --check ." in run(*MAKE, "--dry-run", "lint").stdout


def test_what_make_writes_is_already_written(repository_files: list[Path], tmp_path: Path) -> None:
    copy_source(ROOT, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = run(*MAKE, "readme", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    both = [(ROOT / path, tmp_path / path) for path in repository_files]
    assert [here for here, copy in both if here.read_bytes() != copy.read_bytes()] == []


def test_pre_commit_takes_its_file() -> None:
    pre_commit = Path(sys.executable).with_name("pre-commit")
    done = run(str(pre_commit), "validate-config", ".pre-commit-config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


# --- deployment --------------------------------------------------------------------------------


def test_check_of_the_deliverables_runs_as_it_is_shown() -> None:
    done = run("deployment/check.sh", "--deliverables")
    stands = [line.split()[0] for line in done.stdout.splitlines()]
    assert set(stands) <= {"filled", "empty"}
    assert done.returncode == ("empty" in stands)
