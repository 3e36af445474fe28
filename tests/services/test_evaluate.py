"""Accuracy and time of a compiled model on labelled pictures, by the command that people type."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from imgserve.errors import EvaluationFailed
from imgserve.evaluate import labelled_pictures
from imgserve.evaluate.__main__ import confusion_picture, most_confused
from tests.conftest import PHOTOS, needs
from tests.services.conftest import MODELS

SAMPLES = Path("imgserve/samples")
LINE = re.compile(r"^(fp32|bf16|int8) +(\d+) +([\d.]+)% +([\d.]+)% +[\d.]+$", re.MULTILINE)


def evaluate(
    root: Path, weights: Path, *arguments: object, model: str = MODELS[0]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imgserve.evaluate", model, *map(str, arguments)]
    return subprocess.run(
        [*command, "--weights-dir", weights], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two pictures, one of which is not of the class that its label says."""
    for label, name in (("espresso", "espresso.jpg"), ("tabby", "rocket.jpg")):
        (tmp_path / label).mkdir()
        shutil.copy(SAMPLES / name, tmp_path / label / name)
    return tmp_path


def test_pictures_in_a_folder_a_class_are_scored(
    root: Path, weights_dir: Path, folder: Path
) -> None:
    drawn = folder / "confusion.png"
    done = evaluate(root, weights_dir, folder, "--precision", "fp32", "--confusion", drawn)
    assert LINE.findall(done.stdout) == [("fp32", "2", "50.0", "50.0")]
    assert "tabby taken for" in done.stdout
    assert "fp32: 2 of 2" in done.stderr
    with Image.open(drawn) as picture:
        assert picture.size == (24, 24)  # three classes of 8 pixels


@pytest.mark.parametrize("row", ["class_id\n{},1", "category\n{},a_cup"])
def test_a_list_of_labels_names_pictures_by_number_or_name(folder: Path, row: str) -> None:
    name = "espresso/espresso.jpg"
    (folder / "labels.csv").write_text(f"file,{row.format(name)}\n")
    assert labelled_pictures(folder, ["a dog", "a cup"]) == [(folder / name, 1)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("gone.jpg,1", "names 'gone.jpg', which is not there"),
        ("espresso/espresso.jpg,dragon", "is of class 'dragon', which is none of the model's 2, "),
        ("espresso/espresso.jpg,2", "is of class '2'"),
        ("", "has neither a labels.csv nor a folder of pictures for each class"),
    ],
)
def test_wrong_labels_are_named(folder: Path, rows: str, said: str) -> None:
    (folder / "labels.csv").write_text(f"file,category\n{rows}\n")
    with pytest.raises(EvaluationFailed, match=said):
        labelled_pictures(folder, ["a dog", "a cup"])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (MODELS[0], f"{sys.executable} -m imgserve.compile {MODELS[0]} --precision int8\n"),
        ("no_such", "no_such: there is no model 'no_such': choose one of"),
    ],
)
def test_a_model_that_is_not_compiled_says_how_and_one_that_nobody_knows_is_named(
    root: Path, folder: Path, model: str, said: str
) -> None:
    done = evaluate(root, folder / "none", folder, "--precision", "int8", model=model)
    assert done.returncode == 1
    assert said in done.stderr


def test_mistakes_are_drawn_in_rows_of_the_true_class() -> None:
    pairs = [(3, 3), (3, 3), (3, 9), (9, 9)]
    drawn = confusion_picture(pairs).resize((2, 2), Image.Resampling.NEAREST)
    assert list(drawn.get_flattened_data()) == [85, 170, 255, 0]
    assert most_confused(pairs, [f"class {number}" for number in range(10)]) == [
        "class 3 taken for class 9: 1"
    ]


@needs(PHOTOS)
def test_the_embedded_model_is_as_right_as_published_in_every_precision(
    root: Path, weights_dir: Path
) -> None:
    done = evaluate(root, weights_dir, PHOTOS)
    scores = {line[0]: float(line[2]) for line in LINE.findall(done.stdout)}
    assert scores["fp32"] >= 85
    assert all(abs(score - scores["fp32"]) <= 1 for score in scores.values())
