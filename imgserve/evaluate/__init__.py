"""The labelled pictures of a folder, for compiling and for ``python -m imgserve.evaluate``."""

import csv
from collections.abc import Sequence
from pathlib import Path

from imgserve.errors import EvaluationFailed

LABELS = "labels.csv"

Labelled = tuple[Path, int]  # a picture's file and the number of its class


def labelled_pictures(folder: Path, categories: Sequence[str]) -> list[Labelled]:
    """Return the pictures of a folder with their classes.

    The folder has a ``labels.csv`` with the columns ``file`` and ``class_id`` or ``category``, or a
    folder for each class, called by its name or number. ``categories`` are the names of the model's
    classes, in the order of its output. EvaluationFailed where there are no pictures, or one's
    class is none of these.
    """
    rows = _rows(folder)
    if not rows:
        raise EvaluationFailed(
            f"{folder} has neither a {LABELS} nor a folder of pictures for each class"
        )
    numbers = {name: number for number, name in reversed(list(enumerate(categories)))}
    found = []
    for name, label in rows:
        if not name or not (folder / name).is_file():
            raise EvaluationFailed(f"{folder / LABELS} names {name!r}, which is not there")
        number = int(label) if label.isdecimal() else numbers.get(label.replace("_", " "), -1)
        if not 0 <= number < len(categories):
            raise EvaluationFailed(
                f"{name} is of class {label!r}, which is none of the model's {len(categories)}, "
                f"such as {categories[0]!r}"
            )
        found.append((folder / name, number))
    return found


def _rows(folder: Path) -> list[tuple[str, str]]:
    """Return the paths in the folder and the labels of its pictures."""
    if (folder / LABELS).is_file():
        with (folder / LABELS).open(newline="", encoding="utf-8-sig") as file:
            return [
                (row.get("file") or "", (row.get("class_id") or row.get("category") or "").strip())
                for row in csv.DictReader(file)
            ]
    found = (path for path in sorted(folder.glob("*/*")) if path.is_file())
    return [(str(path.relative_to(folder)), path.parent.name) for path in found]
